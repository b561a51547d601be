"""Search hyperparameters, `-m hydra/sweeper=search`: Optuna proposes trials, scored by validation accuracy."""

import os
import sys
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, IntervalSweep, Override, RangeSweep
from hydra.types import HydraContext, RunMode
from omegaconf import DictConfig, open_dict
from optuna import Study, Trial
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState

from cnnlab.config.compose import plain
from cnnlab.config.identity import config_hash
from cnnlab.config.keys import refuse_study_keys
from cnnlab.data.splits import sizes
from cnnlab.reporting.search import report_search
from cnnlab.runs.plan import Parameter, SearchPlan, job_of
from cnnlab.runs.record import Record
from cnnlab.studies.execute import Task, carry_out
from cnnlab.studies.tally import Tally
from cnnlab.training.callbacks.pruning import load_search
from cnnlab.training.validate import check

FOLDERS = ("--config-dir", "-cd", "--config-path", "-cp")  # options with which Hydra finds configs


def search(context: HydraContext, config: DictConfig, arguments: Sequence[str], wanted: int, parallel: int) -> None:
    """Run trials until as many as wanted are completed or pruned; the same command again resumes.

    Args:
        context: Hydra's, for composing.
        config: composed without the overrides that are searched.
        arguments: overrides as on the command line; choices, ranges and intervals are searched.
        wanted, parallel: number of trials in all, and running at once.

    Raises:
        ValueError: there is nothing to search, or the config cannot work.
        SystemExit: a trial failed.
    """
    parsed = OverridesParser.create(config_loader=context.config_loader).parse_overrides(list(arguments))
    fixed = [p.input_line or "" for p in parsed if not p.is_sweep_override()]
    space: dict[str, BaseDistribution] = {p.get_key_element(): distribution(p) for p in parsed if p.is_sweep_override()}
    if not space:
        raise ValueError("nothing to search: give a range, such as 'optimizer.lr=tag(log, interval(0.001, 0.1))'")
    if not isinstance(wanted, int) or wanted < 1 or not isinstance(parallel, int) or parallel < 1:
        raise ValueError(f"hydra.sweeper.trials={wanted} and parallel={parallel} must be whole numbers of at least 1")
    base = plain(config)
    refuse_study_keys(base["study"], "a search varies what hydra.sweeper.params says, at one seed", taken=["name"])
    check(base)
    with open_dict(config):
        name = config_hash({**base, "searched": sorted(space)})
        config.study.name = config.study.name or f"search-{name}"
    directory = Path(str(config.hydra.sweep.dir))
    ranges = {key: Parameter.of(values) for key, values in space.items()}
    command = ["python", "-m", "cnnlab.train", *sys.argv[1:]]
    images = sizes(base["data"])[1]
    single = base_command(context, config, fixed, space)
    SearchPlan(config.study.name, command, single, ranges, wanted, images).write(directory)
    study = load_search(directory, base["seed"])
    done = (TrialState.COMPLETE, TrialState.PRUNED)
    print(f"search       {os.path.relpath(directory)}", flush=True)
    if already := len(study.get_trials(states=done)):
        print(f"{already} of {wanted} trials are done already")
    for cut in study.get_trials(states=(TrialState.RUNNING,)):  # left by a search that was killed
        study.tell(cut.number, state=TrialState.FAIL)
        study.enqueue_trial(cut.params)
        print(f"trial_{cut.number:03d} was cut off: its values are tried again", flush=True)

    failed, tally = 0, Tally(wanted, already, unit="trials")
    try:
        while (left := wanted - failed - len(study.get_trials(states=done))) > 0:
            trials = [study.ask(space) for _ in range(min(parallel, left))]
            tasks = []
            for place, trial in enumerate(trials, wanted - left + 1):
                variant = f"trial_{trial.number:03d}"
                own = [f"{key}={value}" for key, value in trial.params.items()]
                own += [f"study.name={config.study.name}", f"study.variant={variant}", f"study.trial={trial.number}"]
                own += [f"study.varied=[{','.join(sorted(key.lstrip('+') for key in space))}]"]
                composed = plain(context.config_loader.load_sweep_config(config, [*fixed, *own]))
                run_dir = directory / job_of(variant, composed).run_dir
                tasks.append(Task([*fixed, *own], run_dir, number=f"{place}/{wanted}"))
            carry_out(context, config, tasks, tally)
            failed += sum(not tell(study, trial, task) for trial, task in zip(trials, tasks, strict=True))
    finally:
        print(f"\n{report_search(directory)}")
    if failed:
        sys.exit(f"cnnlab: {failed} trials failed; {directory / 'results.csv'} says which")


def base_command(context: HydraContext, config: DictConfig, fixed: Sequence[str], space: Collection[str]) -> list[str]:
    """Return the command of a single run without the searched keys, to which a trial's values are appended."""
    given = sys.argv[1:]
    options = [
        a for i, a in enumerate(given) if (given[i - 1] if i else "") in FOLDERS or a.partition("=")[0] in FOLDERS
    ]
    options += [a for a in given if a.startswith("hydra.searchpath=")]
    kept = [o for o in fixed if o.partition("=")[0] not in space and not o.startswith(("study.", "hydra.", "hydra/"))]
    files = context.config_loader.load_configuration(config.hydra.job.config_name, [*fixed], RunMode.RUN)
    mode = ["hydra.mode=RUN"] if files.hydra.mode == RunMode.MULTIRUN else []  # for an experiment file of a search
    return ["python", "-m", "cnnlab.train", *options, *kept, *mode]


def distribution(override: Override) -> Any:
    """Convert a sweep of Hydra's, interval(...), tag(log, interval(...)), range or choices, to a distribution."""
    value = override.value()
    if isinstance(value, IntervalSweep):
        whole = isinstance(value.start, int) and isinstance(value.end, int)
        kind: Any = IntDistribution if whole else FloatDistribution
        return kind(value.start, value.end, log="log" in value.tags)
    if isinstance(value, RangeSweep):
        return CategoricalDistribution(list(value.range()))
    assert isinstance(value, ChoiceSweep)
    return CategoricalDistribution(list(override.sweep_string_iterator()))


def tell(study: Study, trial: Trial, task: Task) -> bool:
    """Report a trial's outcome to Optuna; return whether its run was completed."""
    run = Record.load(task.directory) if (task.directory / "run.json").is_file() else None
    if run is None or run.status != "completed":
        study.tell(trial, state=TrialState.FAIL)
        return False
    pruned = study.trials[trial.number].user_attrs.get("pruned", False)
    study.tell(trial, None if pruned else run.metrics["val/acc"], TrialState.PRUNED if pruned else TrialState.COMPLETE)
    return True
