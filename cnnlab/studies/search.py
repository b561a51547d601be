"""What `-m hydra/sweeper=search` does: Optuna asks for trials, the launcher runs them, validation accuracy decides."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, IntervalSweep, Override, RangeSweep
from hydra.types import HydraContext
from omegaconf import DictConfig, open_dict

from cnnlab.config.compose import plain
from cnnlab.config.identity import config_hash
from cnnlab.config.keys import refuse_study_keys
from cnnlab.reporting.tables import Table
from cnnlab.runs.plan import job_of
from cnnlab.runs.record import Record
from cnnlab.studies.execute import Task, announcer, carry_out
from cnnlab.studies.progress import follow
from cnnlab.studies.tally import Tally
from cnnlab.training.callbacks.pruning import load_search
from cnnlab.training.validate import check

if TYPE_CHECKING:
    from optuna import Study, Trial


def search(context: HydraContext, config: DictConfig, arguments: Sequence[str], wanted: int, parallel: int) -> None:
    """Run trials until as many as wanted are completed or pruned; the same command again goes on.

    Args:
        context: Hydra's, for composing.
        config: the config composed without what is searched.
        arguments: overrides as on the command line; a choice, a range or an interval is searched.
        wanted: trials.
        parallel: trials under way at once.

    Raises:
        ValueError: nothing to search, or a config that cannot be.
        SystemExit: a trial failed.
    """
    from optuna.distributions import BaseDistribution
    from optuna.trial import TrialState

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
    directory.mkdir(parents=True, exist_ok=True)
    study = load_search(directory, base["seed"])
    done = (TrialState.COMPLETE, TrialState.PRUNED)
    print(f"search       {os.path.relpath(directory)}", flush=True)
    if already := len(study.get_trials(states=done)):
        print(f"{already} of {wanted} trials are done already")
    for cut in study.get_trials(states=(TrialState.RUNNING,)):  # of a search that was killed
        study.tell(cut.number, state=TrialState.FAIL)
        study.enqueue_trial(cut.params)
        print(f"trial_{cut.number:03d} was cut off: its values are tried again", flush=True)

    failed, tally = 0, Tally(wanted, already, unit="trials")
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
        tally.expect(task.directory for task in tasks)
        with follow(tally, announcer(config, tasks)):
            carry_out(context, config, tasks)
        failed += sum(not tell(study, trial, task) for trial, task in zip(trials, tasks, strict=True))
    print(f"\n{summary(study, directory)}")
    if failed:
        sys.exit(f"cnnlab: {failed} trials failed; {directory / 'results.csv'} says which")


def distribution(override: Override) -> Any:
    """What Optuna draws from for a sweep of Hydra's grammar: interval(...), tag(log, interval(...)), range, choices."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    value = override.value()
    if isinstance(value, IntervalSweep):
        whole = isinstance(value.start, int) and isinstance(value.end, int)
        kind: Any = IntDistribution if whole else FloatDistribution
        return kind(value.start, value.end, log="log" in value.tags)
    if isinstance(value, RangeSweep):
        return CategoricalDistribution(list(value.range()))
    assert isinstance(value, ChoiceSweep)
    return CategoricalDistribution(list(override.sweep_string_iterator()))


def tell(study: "Study", trial: "Trial", task: Task) -> bool:
    """Tell Optuna what became of a trial; whether anything did."""
    from optuna.trial import TrialState

    run = Record.load(task.directory) if (task.directory / "run.json").is_file() else None
    if run is None or run.status != "completed":
        study.tell(trial, state=TrialState.FAIL)
        return False
    pruned = study.trials[trial.number].user_attrs.get("pruned", False)
    study.tell(trial, None if pruned else run.metrics["val/acc"], TrialState.PRUNED if pruned else TrialState.COMPLETE)
    return True


def summary(study: "Study", directory: Path) -> str:
    """Write `results.csv`, the best trial first; returns what to print of it."""
    rows = Table(
        {
            "trial": trial.number,
            "state": trial.state.name.lower(),
            "val/acc": trial.value
            if trial.value is not None
            else max(trial.intermediate_values.values(), default=None),
            **trial.params,
        }
        for trial in study.trials
    )
    rows.sort(key=lambda row: (row["state"] != "complete", -(row["val/acc"] or 0)))
    (directory / "results.csv").write_text(rows.csv(), encoding="utf-8")
    best = " ".join(f"{key}={value}" for key, value in rows[0].items() if key not in ("trial", "state", "val/acc"))
    return f"{Table(rows[:10])}\n\nbest         {best}\nresults      {os.path.relpath(directory / 'results.csv')}"
