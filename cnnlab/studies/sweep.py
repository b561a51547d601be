"""What `python -m cnnlab.train -m` does: expand a study, plan it, run what is not done yet, report."""

import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.types import HydraContext
from omegaconf import DictConfig, open_dict

from cnnlab.config.compose import plain, safe
from cnnlab.config.errors import EXPECTED, explain
from cnnlab.config.identity import Config, config_hash
from cnnlab.data.load import facts
from cnnlab.data.splits import has_validation, lottery, sizes
from cnnlab.distributed.world import joined
from cnnlab.models.arrangement import as_patterns
from cnnlab.packing.together import kin, why_alone
from cnnlab.reporting.report import report
from cnnlab.reporting.tables import Table
from cnnlab.runs.checkpoints import read
from cnnlab.runs.metrics import Measure, measure
from cnnlab.runs.plan import Job, Plan, Variant, job_of, runs_of
from cnnlab.runs.record import Record, completed, locked
from cnnlab.studies.configs import Configs
from cnnlab.studies.execute import Task, announcer, carry_out
from cnnlab.studies.folds import folds_of, hold_out
from cnnlab.studies.plan import MEASURES, Estimates, shown_seconds, width_for
from cnnlab.studies.progress import follow
from cnnlab.studies.removals import KEYS, factors, removals
from cnnlab.studies.tally import Tally
from cnnlab.studies.tune import SEED as TUNING_SEED
from cnnlab.studies.tune import choice, choices, choose
from cnnlab.trained.lesions import lesion
from cnnlab.training.validate import check

ONE_SPLIT = "data.split_seed=0"  # of the baseline's runs that show the spread of seeds without that of splits
Axis = list[tuple[str, list[str]]]  # of a sweep: names with the overrides they stand for


def sweep(context: HydraContext, config: DictConfig, arguments: Sequence[str]) -> None:
    """Plan the study that `config.study` and the arguments describe, run its jobs, write its report.

    Args:
        context: Hydra's, for composing.
        config: the config composed without what is swept.
        arguments: overrides as on the command line, a swept one as Hydra's grammar has it.

    Raises:
        ValueError: a variant cannot be.
        SystemExit: a job failed.
    """
    if joined():
        raise ValueError("a sweep starts its processes itself: run it without torchrun or srun")
    study = Expansion(context, config, arguments)
    plan, invalid = study.plan()
    print("\n".join([plan_table(plan), *study.warnings]), flush=True)
    if invalid and not config.study.skip_invalid:
        raise ValueError(
            "; ".join(f"variant {v.name} cannot be: {v.reason}" for v in invalid)
            + "; study.skip_invalid=true goes on without"
        )
    if config.study.tune:
        plan = study.tuned(plan)
    kinship = study.kinship(plan) if config.study.pack > 1 else {}
    tasks = [
        Task(study.arguments(plan, job), study.directory / job.run_dir, study.kin_of(plan, job, kinship))
        for job in plan.jobs
    ]
    plan.write(study.directory)
    print(f"\nstudy        {os.path.relpath(study.directory)}", flush=True)
    if config.study.plan_only:
        return
    left = [task for task in tasks if not completed(task.directory)]
    todo = [replace(task, number=f"{i}/{len(left)}") for i, task in enumerate(left, 1)]
    if len(todo) < len(tasks):
        print(f"{len(tasks) - len(todo)} of {len(tasks)} runs are completed already")
    for line in begun(todo):
        print(line, flush=True)
    tally = Tally(len(tasks), len(tasks) - len(todo), {v.name: v.seconds for v in plan.variants if v.seconds})
    tally.expect(task.directory for task in todo)
    try:
        with follow(tally, announcer(study.config, todo)):
            carry_out(context, study.config, todo)
        silence_baselines(plan, study.directory)
    finally:
        print(f"\n{report(study.directory)}")
    failed = [task.directory.name for task in tasks if not completed(task.directory)]
    if failed:
        sys.exit(f"cnnlab: {len(failed)} of {len(tasks)} runs did not complete: {', '.join(failed)}")


class Expansion:
    """What is varied over what, composed."""

    def __init__(self, context: HydraContext, config: DictConfig, arguments: Sequence[str]) -> None:
        self.context, self.config = context, config
        parsed = OverridesParser.create(config_loader=context.config_loader).parse_overrides(list(arguments))
        self.fixed = [p.input_line or "" for p in parsed if not p.is_sweep_override()]
        swept = {p.get_key_element(): p for p in parsed if p.is_sweep_override()}  # the last of a key counts
        for key, override in swept.items():
            if not override.is_discrete_sweep():
                raise ValueError(f"{key}: a study needs values to choose from, not an interval")
        given = any(p.get_key_element() == "seed" for p in parsed)
        self.seeds = _seeds(swept.pop("seed", None), config.study.seeds if not given else None, config.seed)
        self.axes = [[(_label(p, v), [f"{k}={v}"]) for v in p.sweep_string_iterator()] for k, p in swept.items()]
        named = [(name, list(overrides or [])) for name, overrides in (config.study.variants or {}).items()]
        if named:
            self.axes.insert(0, named)
        overrides = [o for axis in self.axes for _, choice in axis for o in choice]
        self.varied = sorted({o.partition("=")[0].lstrip("+~") for o in overrides})
        if any(config.study[key] for key in KEYS):
            self.varied = sorted({*self.varied, "model.remove"})
        self.split_varies = _split_varies(config, self.varied)
        if self.split_varies:
            self.varied = sorted({*self.varied, "data.split_seed"})
        self.folds = folds_of(config, self.varied, self.split_varies)
        self.warnings: dict[str, None] = {}  # of variants, each said once
        by_folds = {"folds": self.folds} if self.folds else {}
        self.identity = config_hash({**plain(config), "seed": None, "varied": self.varied, **by_folds})
        with open_dict(config):
            chosen = config.hydra.runtime.choices.get("ablation")
            config.study.name = config.study.name or chosen or f"sweep-{self.identity}"
        if not re.fullmatch(r"[A-Za-z0-9._-]+", str(config.study.name)):
            raise ValueError(f"study.name={config.study.name} becomes a folder: letters, digits, '.', '_' and '-' only")
        if config.study.match not in (None, *MEASURES):
            raise ValueError(f"study.match={config.study.match}: known are {' and '.join(MEASURES)}")
        for key in ("variant", "varied", "trial", "tuning"):
            if config.study[key] not in (None, [], False):
                raise ValueError(f"study.{key}={config.study[key]}: it is what a study tells its runs")
        self.directory = Path(str(config.hydra.sweep.dir))
        self.estimates = Estimates()
        own = [*hold_out(0, self.folds), f"seed={self.seeds[0]}", f"study.name={config.study.name}"]
        self.configs = Configs(context, config, self.fixed, own)

    def plan(self, tuned: Sequence[dict[str, Any]] = ()) -> tuple[Plan, list[Variant]]:
        """All variants that can be, with their jobs, and those that cannot.

        Args:
            tuned: what the trials of `tuned` gave.
        """
        study = self.config.study
        variants = [self._examine(v) for v in self._variants()]
        names = [v.name for v in variants]
        baseline = study.baseline or names[0]
        if baseline not in names:
            raise ValueError(f"study.baseline={baseline}: the variants are {', '.join(names)}")
        variants.sort(key=lambda v: v.name != baseline)  # the baseline first, all else in its order
        if study.match and not variants[0].reason:
            variants += [self._examine(self._twin(v, variants[0])) for v in variants[1:] if not v.reason]
        one_split = None
        if self.split_varies:
            one_split = f"{baseline}-one_split"
            variants.append(replace(variants[0], name=one_split, overrides=[*variants[0].overrides, ONE_SPLIT]))
        valid, invalid = [v for v in variants if not v.reason], [v for v in variants if v.reason]
        if not valid:
            return Plan(study.name, baseline, self.identity, sys.argv, self.varied, variants, []), invalid
        jobs = []
        for variant in valid:
            overrides = [*variant.overrides, *choice(tuned, variant.name)]
            for seed in self.seeds:
                split_seed = seed if self.split_varies and variant.name != one_split else None
                for fold in range(self.folds or 1):
                    config = self.configs.run(overrides, seed, split_seed, fold if self.folds else None)
                    jobs.append(job_of(variant.name, config))
        # a study cut short has all variants at fewer seeds or folds
        jobs.sort(key=lambda job: (self.seeds.index(job.seed), job.fold or 0))
        command = ["python", "-m", "cnnlab.train", *sys.argv[1:]]
        config = self.configs.variant(valid[0].overrides)
        compared = self._measure(config)
        points = 100 if compared is None or compared.percent else 1
        margin = None if study.margin is None else study.margin / points
        plan = Plan(
            study.name, baseline, self.identity, command, self.varied, variants, jobs, margin, one_split,
            list(tuned), factors(config["study"], config["model"]), compared, self.folds,
        )  # fmt: skip
        return plan, invalid

    def _measure(self, config: Config) -> Measure | None:
        """What variants are compared by, where it is not left at accuracy; in a cross-validation on images held out."""
        name = config["study"].get("metric") or ("val/acc" if self.folds else None)
        return None if name is None else measure(name, facts(config["data"])[1], config.get("metrics", []))

    def _variants(self) -> Iterator[Variant]:
        seen: set[str] = set()
        for combination in product(*self.axes):
            overrides = [o for _, choice in combination for o in choice]
            parts = [name for name, _ in combination if name]
            for removal, extra in self._removals(overrides):
                name = safe(*parts, removal) or "baseline"
                while name in seen:
                    name += "_"
                seen.add(name)
                yield Variant(name, overrides + extra)

    def _removals(self, overrides: list[str]) -> Axis:
        """Nothing, then what the study removes from the network of these overrides."""
        if not any(self.config.study[key] for key in KEYS):
            return [("", [])]
        config = self.configs.variant(overrides)
        already = as_patterns(config["model"].get("remove") or [], "model.remove")
        named = removals(config["study"], config["model"])
        return [("", []), *((n, [f"model.remove=[{','.join([*already, *r])}]"]) for n, r in named.items())]

    def _examine(self, variant: Variant) -> Variant:
        """The variant with its sizes and its time, or the reason why it cannot be."""
        if variant.reason:
            return variant
        try:
            config = self.configs.variant(variant.overrides)
            network = check(config).network
            if few := lottery(sizes(config["data"])[1], facts(config["data"])[1]):
                self.warnings[few] = None
            seconds = self.estimates.seconds(config, network.macs)
        except (*EXPECTED, TypeError) as error:
            return replace(variant, reason=explain(error))
        return replace(variant, removed=network.removed, params=network.params, macs=network.macs, seconds=seconds)

    def _twin(self, variant: Variant, baseline: Variant) -> Variant:
        """The variant at the width that gives it the baseline's capacity."""
        measure = self.config.study.match
        name = f"{variant.name}-same_{measure}"
        try:
            width = width_for(self.configs.variant(variant.overrides), measure, getattr(baseline, measure))
        except ValueError as error:
            return Variant(name, variant.overrides, variant.removed, reason=str(error))
        return Variant(name, [*variant.overrides, f"model.width={width}"])

    def kinship(self, plan: Plan) -> dict[str, str | None]:
        """For each variant, what those have in common that can be trained together with it; say which are alone."""
        configs = {v.name: self.configs.variant(v.overrides) for v in plan.variants if not v.reason}
        alone: dict[str, list[str]] = {}
        for name, config in configs.items():
            if reason := why_alone(config):
                alone.setdefault(reason, []).append(name)
        for reason, names in alone.items():
            print(f"study.pack   one after the other because of {reason}: {_some(names)}", flush=True)
        return {name: kin(config) for name, config in configs.items()}

    def kin_of(self, plan: Plan, job: Job, kinship: Mapping[str, str | None]) -> str | None:
        """What a job has in common with those that can be trained together with it: the same images, too."""
        kin = kinship.get(job.variant)
        split = job.seed if self.split_varies and job.variant != plan.one_split else ""
        return kin and f"{kin} {split} {job.fold}"

    def arguments(self, plan: Plan, job: Job) -> list[str]:
        """The overrides with which Hydra runs a job."""
        variant = next(v for v in plan.variants if v.name == job.variant)
        split = [f"data.split_seed={job.seed}"] if self.split_varies else []
        own = [f"seed={job.seed}", f"study.name={plan.name}", f"study.variant={job.variant}"]
        own += [f"study.varied=[{','.join(self.varied)}]"]
        return [
            *self.fixed,
            *split,
            *variant.overrides,
            *choice(plan.tuned, job.variant),
            *hold_out(job.fold, self.folds),
            *own,
        ]

    def tuned(self, plan: Plan) -> Plan:
        """Run the trials of every variant, and plan the study with what was the best for each.

        The baseline on one validation split takes what the baseline does.
        """
        tune, tasks = plain(self.config)["study"]["tune"], dict[str, list[tuple[list[str], Task]]]()
        valid = [v for v in plan.variants if not v.reason and v.name != plan.one_split]
        for variant in valid:
            tasks[variant.name] = []
            for tried in choices(tune, self.configs.variant(variant.overrides)):
                own = [f"seed={TUNING_SEED}", f"study.name={plan.name}", f"study.variant={variant.name}"]
                own.append("study.tuning=true")
                overrides = [*self.fixed, *variant.overrides, *tried, *own]
                composed = plain(self.context.config_loader.load_sweep_config(self.config, overrides))
                check(composed)
                run_dir = f"tune/{job_of(variant.name, composed).run_dir}"
                tasks[variant.name].append((tried, Task(overrides, self.directory / run_dir)))
        every = [task for trials in tasks.values() for _, task in trials]
        left = [task for task in every if not completed(task.directory)]
        print(f"\n{len(every)} trials before the study, {len(left)} of them to run", flush=True)
        if self.config.study.plan_only:
            return plan
        carry_out(self.context, self.config, [replace(t, number=f"{i}/{len(left)}") for i, t in enumerate(left, 1)])
        rows = [
            row
            for variant in valid
            for row in choose(variant, [(tried, task.directory) for tried, task in tasks[variant.name]])
        ]
        if plan.one_split:
            rows += [{**row, "variant": plan.one_split} for row in rows if row["variant"] == plan.baseline]
        return self.plan(rows)[0]


def _split_varies(config: DictConfig, varied: Sequence[str]) -> bool:
    """Whether each seed has a validation split of its own.

    Raises:
        ValueError: `study.vary` names something else, or there is no split to draw.
    """
    vary = config.study.vary if isinstance(config.study.vary, str) else list(config.study.vary)
    if vary not in (["seed"], ["seed", "split"]):
        raise ValueError(f"study.vary={vary}: runs of a variant differ in [seed], or in [seed,split]")
    if vary == ["seed"]:
        return False
    if "data.split_seed" in varied:
        raise ValueError("study.vary=[seed,split] and data.split_seed swept: give one of the two")
    if has_validation(plain(config)["data"]):
        raise ValueError(f"study.vary=[seed,split]: data={config.data.name} has validation images of its own")
    return True


def _seeds(swept: Override | None, of_study: Sequence[int] | None, single: int) -> list[int]:
    """What the command line sweeps, else what the study says, else the one seed there is."""
    given = list(swept.sweep_iterator()) if swept else [single] if of_study is None else of_study
    seeds = [s for s in given if isinstance(s, int) and s >= 0] if isinstance(given, Sequence) else []
    if not seeds or len(seeds) < len(given):
        raise ValueError(f"study.seeds is a list of whole numbers of at least 0, not {given}")
    return list(dict.fromkeys(seeds))


def _label(override: Override, value: str) -> str:
    """How a swept value is called in names: the value where it speaks for itself, else with the key's last part."""
    key = override.get_key_element().lstrip("+")
    if key == "model.remove":
        names = value.strip("[]'\"")
        return f"no_{safe(names)}" if names else ""
    speaks = value.replace("_", "").isalnum() and value[:1].isalpha() and value not in ("true", "false", "null")
    return safe(value) if speaks else f"{key.rpartition('.')[2]}_{safe(value)}"


def plan_table(plan: Plan) -> str:
    """What is about to run, and how long it will take."""
    runs = {v.name: [j for j in plan.jobs if j.variant == v.name] for v in plan.variants}
    rows = Table(
        {
            "variant": v.name,
            "removed": " ".join(v.removed),
            "params": v.params,
            "macs": v.macs,
            "seeds": len({job.seed for job in runs[v.name]}),
            **({"folds": plan.folds} if plan.folds else {}),
            "a run": v.seconds and shown_seconds(v.seconds),
        }
        for v in plan.variants
        if not v.reason
    )
    total = sum((v.seconds or 0) * len(runs[v.name]) for v in plan.variants)
    return f"{rows}\n\n{len(plan.jobs)} runs, about {shown_seconds(total)} of computing, one after the other"


def begun(tasks: Sequence[Task]) -> list[str]:
    """Say which of the tasks resume from a checkpoint, and which start again because they left none."""
    resumed, again = [], []
    for task in tasks:
        if not (task.directory / "run.json").is_file() or locked(task.directory):
            continue
        name = f"{task.directory.name} ({Record.load(task.directory).status})"
        last = task.directory / "checkpoints/last.ckpt"
        if not last.is_file():
            again.append(name)
            continue
        try:
            content = read(last)
            resumed.append(f"{name} from epoch {content['epoch'] + 1}, step {content['global_step']}")
        except ValueError:  # the run itself says what is wrong with it
            resumed.append(f"{name} from a checkpoint that cannot be read")
    return [f"{what}: {_some(names)}" for what, names in (("resumes", resumed), ("starts again", again)) if names]


def _some(names: Sequence[str], shown: int = 8) -> str:
    rest = len(names) - shown
    return "; ".join(names[:shown]) + (f"; and {rest} more" if rest > 0 else "")


def silence_baselines(plan: Plan, directory: Path) -> None:
    """Ask the trained baselines the question of each removal without training again, for the report to show both."""
    gone = next(v.removed for v in plan.variants if v.name == plan.baseline)
    removals = [[name for name in v.removed if name not in gone] for v in plan.variants if not v.reason]
    for job, run in runs_of(plan, directory):
        if job.variant == plan.baseline and run is not None and run.status == "completed":
            layers = set(run.config["model"]["layers"])
            if asked := [removed for removed in removals if removed and layers.issuperset(removed)]:
                lesion(run, asked)
