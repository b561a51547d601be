"""Expand a study into its variants and the configs of their runs."""

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
from cnnlab.data.splits import few_validation_warning, has_validation, remark, sizes
from cnnlab.models.arrangement import as_patterns
from cnnlab.packing.together import kin, why_alone
from cnnlab.runs.metrics import Measure, configured_metrics, measure
from cnnlab.runs.plan import Job, Plan, Variant, job_of
from cnnlab.studies.configs import Configs
from cnnlab.studies.execute import Task
from cnnlab.studies.plan import MEASURES, Estimates, abbreviate, width_for
from cnnlab.studies.removals import KEYS, factors, removals
from cnnlab.studies.tune import SEED as TUNING_SEED
from cnnlab.studies.tune import chosen_overrides
from cnnlab.training.validate import check

ONE_SPLIT = "data.split_seed=0"  # for extra runs of the baseline, whose spread is that of seeds alone, not of splits
Axis = list[tuple[str, list[str]]]  # of a sweep: names with the overrides they stand for


class Expansion:
    """Compose the variants and runs of a study from a multirun's config and arguments."""

    def __init__(self, context: HydraContext, config: DictConfig, arguments: Sequence[str]) -> None:
        self.context, self.config = context, config
        parsed = OverridesParser.create(config_loader=context.config_loader).parse_overrides(list(arguments))
        self.fixed = [p.input_line or "" for p in parsed if not p.is_sweep_override()]
        swept = {p.get_key_element(): p for p in parsed if p.is_sweep_override()}  # the last override of a key counts
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
        self.folds = _folds(config, self.varied, self.split_varies)
        self.warnings: dict[str, None] = {}  # about variants, each printed once
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
            if config.study[key] not in (None, []) and config.study[key] is not False:
                raise ValueError(f"study.{key}={config.study[key]}: it is what a study tells its runs")
        self.directory = Path(str(config.hydra.sweep.dir))
        self.estimates = Estimates()
        own = [*_hold_out(0, self.folds), f"seed={self.seeds[0]}", f"study.name={config.study.name}"]
        self.configs = Configs(context, config, self.fixed, own)

    def plan(self, tuned: Sequence[dict[str, Any]] = ()) -> tuple[Plan, list[Variant]]:
        """Return the plan of all valid variants with their jobs, and the invalid variants.

        Args:
            tuned: rows of the variants' trials, see `select_trials`.
        """
        study = self.config.study
        variants = [self._examine(v) for v in self._variants()]
        names = [v.name for v in variants]
        baseline = study.baseline or names[0]
        if baseline not in names:
            raise ValueError(f"study.baseline={baseline}: the variants are {', '.join(names)}")
        variants.sort(key=lambda v: v.name != baseline)  # the baseline first, the others in their order
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
            overrides = [*variant.overrides, *chosen_overrides(tuned, variant.name)]
            for seed in self.seeds:
                split_seed = seed if self.split_varies and variant.name != one_split else None
                for fold in range(self.folds or 1):
                    config = self.configs.run(overrides, seed, split_seed, fold if self.folds else None)
                    jobs.append(job_of(variant.name, config))
        # by seed and fold, so that an interrupted study has all variants at fewer seeds or folds
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
        """Return the measure to compare variants by: `study.metric`, or val/acc with folds, or None for accuracy."""
        name = config["study"].get("metric") or ("val/acc" if self.folds else None)
        return None if name is None else measure(name, facts(config["data"])[1], configured_metrics(config))

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
        """List removals from the network of these overrides: none, then each of the study's."""
        if not any(self.config.study[key] for key in KEYS):
            return [("", [])]
        config = self.configs.variant(overrides)
        already = as_patterns(config["model"].get("remove") or [], "model.remove")
        named = removals(config["study"], config["model"])
        return [("", []), *((n, [f"model.remove=[{','.join([*already, *r])}]"]) for n, r in named.items())]

    def _examine(self, variant: Variant) -> Variant:
        """Return the variant with its sizes and estimated seconds, or with the reason why it is invalid."""
        if variant.reason:
            return variant
        try:
            config = self.configs.variant(variant.overrides)
            network = check(config).network
            few = few_validation_warning(sizes(config["data"])[1], facts(config["data"]).num_classes)
            self.warnings |= dict.fromkeys(filter(None, [few, remark(config["data"])]))
            seconds = self.estimates.seconds(config, network.macs)
        except (*EXPECTED, TypeError) as error:
            return replace(variant, reason=explain(error))
        return replace(variant, removed=network.removed, params=network.params, macs=network.macs, seconds=seconds)

    def _twin(self, variant: Variant, baseline: Variant) -> Variant:
        """Return a copy of the variant at the width that gives it the baseline's capacity, `study.match`."""
        measure = self.config.study.match
        name = f"{variant.name}-same_{measure}"
        try:
            width = width_for(self.configs.variant(variant.overrides), measure, getattr(baseline, measure))
        except ValueError as error:
            return Variant(name, variant.overrides, variant.removed, reason=str(error))
        return Variant(name, [*variant.overrides, f"model.width={width}"])

    def kinship(self, plan: Plan) -> dict[str, str | None]:
        """Return for each variant the key that it shares with those it can be packed with; print which cannot be."""
        configs = {v.name: self.configs.variant(v.overrides) for v in plan.variants if not v.reason}
        alone: dict[str, list[str]] = {}
        for name, config in configs.items():
            if reason := why_alone(config):
                alone.setdefault(reason, []).append(name)
        for reason, names in alone.items():
            print(f"study.pack   one after the other because of {reason}: {abbreviate(names)}", flush=True)
        return {name: kin(config) for name, config in configs.items()}

    def kin_of(self, plan: Plan, job: Job, kinship: Mapping[str, str | None]) -> str | None:
        """Return the key that a job shares with those it can be packed with: its variant's, and the same examples."""
        kin = kinship.get(job.variant)
        split = job.seed if self.split_varies and job.variant != plan.one_split else ""
        return kin and f"{kin} {split} {job.fold}"

    def arguments(self, plan: Plan, job: Job) -> list[str]:
        """Return the overrides with which Hydra runs a job."""
        variant = next(v for v in plan.variants if v.name == job.variant)
        split = [f"data.split_seed={job.seed}"] if self.split_varies else []
        own = [*_hold_out(job.fold, self.folds), f"seed={job.seed}", f"study.name={plan.name}"]
        own += [f"study.variant={job.variant}", f"study.varied=[{','.join(self.varied)}]"]
        return [*self.fixed, *split, *variant.overrides, *chosen_overrides(plan.tuned, job.variant), *own]

    def trial(self, plan: Plan, variant: Variant, tried: Sequence[str]) -> Task:
        """Make the task of a tuning trial of a variant, with the overrides `tried`.

        Raises:
            ValueError: its config cannot work.
        """
        own = [f"seed={TUNING_SEED}", f"study.name={plan.name}", f"study.variant={variant.name}", "study.tuning=true"]
        overrides = [*self.fixed, *variant.overrides, *tried, *own]
        composed = plain(self.context.config_loader.load_sweep_config(self.config, overrides))
        check(composed)
        return Task(overrides, self.directory / f"tune/{job_of(variant.name, composed).run_dir}")


def _folds(config: DictConfig, varied: Sequence[str], split_varies: bool) -> int | None:
    """Return the number of folds of a cross-validation, or None.

    Raises:
        ValueError: it is not a whole number of at least 2, or another key chooses the validation examples too.
    """
    folds = config.study.folds
    if folds is None:
        return None
    if not isinstance(folds, int) or isinstance(folds, bool) or folds < 2:
        raise ValueError(f"study.folds must be a whole number of at least 2, or null, not {folds!r}")
    if split_varies:
        raise ValueError(f"study.folds={folds} and study.vary=[seed,split]: give one of the two")
    for key in ("folds", "fold", "val_size"):
        if f"data.{key}" in varied or (key != "val_size" and config.data.get(key) is not None):
            raise ValueError(f"study.folds={folds} and data.{key}: the study says which images each run holds out")
    return folds


def _hold_out(fold: int | None, folds: int | None) -> list[str]:
    """Return the overrides of a run that holds out a fold; with "++", as a user's data config may lack the keys."""
    return [] if folds is None else [f"++data.folds={folds}", f"++data.fold={fold}"]


def _split_varies(config: DictConfig, varied: Sequence[str]) -> bool:
    """Return whether each seed has a validation split of its own.

    Raises:
        ValueError: `study.vary` is invalid, or the data are not split at random.
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
    """Return the seeds that the command line sweeps, else those of the study, else the single one."""
    given = list(swept.sweep_iterator()) if swept else [single] if of_study is None else of_study
    seeds = [s for s in given if isinstance(s, int) and s >= 0] if isinstance(given, Sequence) else []
    if not seeds or len(seeds) < len(given):
        raise ValueError(f"study.seeds is a list of whole numbers of at least 0, not {given}")
    return list(dict.fromkeys(seeds))


def _label(override: Override, value: str) -> str:
    """Name a swept value: by itself if it is a word, else with the last part of its key."""
    key = override.get_key_element().lstrip("+")
    if key == "model.remove":
        names = value.strip("[]'\"")
        return f"no_{safe(names)}" if names else ""
    is_word = value.replace("_", "").isalnum() and value[:1].isalpha() and value not in ("true", "false", "null")
    return safe(value) if is_word else f"{key.rpartition('.')[2]}_{safe(value)}"
