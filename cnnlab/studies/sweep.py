"""Execute a study, `python -m cnnlab.train -m`: plan it, run the jobs that are not completed, report."""

import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from hydra.types import HydraContext
from omegaconf import DictConfig

from cnnlab.config.compose import plain
from cnnlab.distributed.world import in_process_group
from cnnlab.reporting.report import report
from cnnlab.reporting.tables import Table
from cnnlab.runs.checkpoints import read
from cnnlab.runs.plan import Plan, runs_of
from cnnlab.runs.record import Record, completed, locked
from cnnlab.studies.execute import Task, carry_out
from cnnlab.studies.expansion import Expansion
from cnnlab.studies.plan import abbreviate, shown_seconds
from cnnlab.studies.tally import Tally
from cnnlab.studies.tune import select_trials, trial_overrides
from cnnlab.trained.lesions import lesion


def sweep(context: HydraContext, config: DictConfig, arguments: Sequence[str]) -> None:
    """Plan the study of `config.study` and the arguments, run its jobs, write its report.

    Args:
        context: Hydra's, for composing.
        config: composed without the overrides that are swept.
        arguments: overrides as on the command line, sweeps in Hydra's grammar.

    Raises:
        ValueError: a variant is invalid.
        SystemExit: a job failed.
    """
    if in_process_group():
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
        plan = tune_variants(study, plan)
    kinship = study.kinship(plan) if config.study.pack > 1 else {}
    tasks = [
        Task(study.arguments(plan, job), study.directory / job.run_dir, study.kin_of(plan, job, kinship))
        for job in plan.jobs
    ]
    plan.write(study.directory)
    print(f"\nstudy        {os.path.relpath(study.directory)}", flush=True)
    if config.study.plan_only:
        return
    todo = pending(tasks)
    if len(todo) < len(tasks):
        print(f"{len(tasks) - len(todo)} of {len(tasks)} runs are completed already")
    for line in describe_restarts(todo):
        print(line, flush=True)
    tally = Tally(len(tasks), len(tasks) - len(todo), {v.name: v.seconds for v in plan.variants if v.seconds})
    try:
        carry_out(context, config, todo, tally)
        lesion_baselines(plan, study.directory)
    finally:
        print(f"\n{report(study.directory)}")
    failed = [task.directory.name for task in tasks if not completed(task.directory)]
    if failed:
        sys.exit(f"cnnlab: {len(failed)} of {len(tasks)} runs did not complete: {', '.join(failed)}")


def tune_variants(study: Expansion, plan: Plan) -> Plan:
    """Run the tuning trials of every variant, and return the plan with the best overrides of each.

    The baseline's extra runs on one validation split take the baseline's.
    """
    tune = plain(study.config)["study"]["tune"]
    trials: dict[str, list[tuple[list[str], Task]]] = {}
    for variant in [v for v in plan.variants if not v.reason and v.name != plan.one_split]:
        trials[variant.name] = [
            (tried, study.trial(plan, variant, tried))
            for tried in trial_overrides(tune, study.configs.variant(variant.overrides))
        ]
    tasks = [task for own in trials.values() for _, task in own]
    todo = pending(tasks)
    print(f"\n{len(tasks)} trials before the study, {len(todo)} of them to run", flush=True)
    if study.config.study.plan_only:
        return plan
    carry_out(study.context, study.config, todo, Tally(len(tasks), len(tasks) - len(todo), unit="trials"))
    rows = []
    for name, own in trials.items():
        rows += select_trials(name, [(tried, task.directory) for tried, task in own])
    if plan.one_split:
        rows += [{**row, "variant": plan.one_split} for row in rows if row["variant"] == plan.baseline]
    return study.plan(rows)[0]


def pending(tasks: Sequence[Task]) -> list[Task]:
    """Return the tasks that are not completed, numbered anew."""
    left = [task for task in tasks if not completed(task.directory)]
    return [replace(task, number=f"{i}/{len(left)}") for i, task in enumerate(left, 1)]


def plan_table(plan: Plan) -> str:
    """Return a table of the variants to run, with the estimated duration."""
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


def describe_restarts(tasks: Sequence[Task]) -> list[str]:
    """Return lines that tell which interrupted tasks resume from a checkpoint, and which have none and start again."""
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
        except ValueError:  # the run itself reports what is wrong with it
            resumed.append(f"{name} from a checkpoint that cannot be read")
    return [f"{what}: {abbreviate(names)}" for what, names in (("resumes", resumed), ("starts again", again)) if names]


def lesion_baselines(plan: Plan, directory: Path) -> None:
    """Test the trained baselines without the layers of each removal, to be reported beside the retrained variants."""
    already = next(v.removed for v in plan.variants if v.name == plan.baseline)
    removals = [[name for name in v.removed if name not in already] for v in plan.variants if not v.reason]
    for job, run in runs_of(plan, directory):
        if job.variant == plan.baseline and run is not None and run.status == "completed":
            layers = set(run.config["model"]["layers"])
            if lesions := [removed for removed in removals if removed and layers.issuperset(removed)]:
                lesion(run, lesions)
