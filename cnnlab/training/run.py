"""Train one run in its directory, from lock to metrics, and resume it."""

import os
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from lightning.pytorch.utilities.exceptions import SIGTERMException

from cnnlab.config.compose import resumed_config
from cnnlab.config.errors import value_errors
from cnnlab.config.identity import Config, digest
from cnnlab.data.load import forget
from cnnlab.distributed.launch import launch, needs_launch
from cnnlab.distributed.world import broadcast_directory, in_process_group, is_first_process
from cnnlab.reporting.tables import show
from cnnlab.runs.checkpoints import refuse_foreign_checkpoint
from cnnlab.runs.record import (
    EXACT_WITH,
    InUseError,
    Record,
    cause,
    completed,
    identity,
    lock,
    now,
    provenance,
    write_json,
)
from cnnlab.training.assemble import Parts, assemble
from cnnlab.training.fit import fit_and_test
from cnnlab.training.validate import check

_checked: dict[str, Parts] = {}  # of the config that check_start accepted last, by its digest, for the run to come


def train(config: Config, directory: Path, overrides: Sequence[str] = ()) -> dict[str, float]:
    """Fit, then test the best checkpoint; returns the content of `metrics.json`.

    Args:
        config: a train config as plain containers.
        directory: the run directory; the fit resumes from a checkpoint of the same run if there is one.
        overrides: as recorded in `run.json`.

    Raises:
        ValueError: the config cannot work.
        FloatingPointError: the training diverged.
    """
    if (is_first_process() or in_process_group()) and digest(config) not in _checked:
        check_start(config, directory, identity(directory, config))
    if needs_launch(config["trainer"]):
        forget()  # free the data that the check loaded; each training process loads its own
        launch(train_here, config, directory, overrides)
        return Record.load(directory).metrics
    return train_here(config, directory, overrides)


def check_start(config: Config, directory: Path, config_hash: str) -> None:
    """Refuse a run before anything is written; `config_hash` is that of the config with which it began.

    Raises:
        ValueError: the config cannot work, or the directory holds a checkpoint of another run.
    """
    parts = check(config)
    refuse_foreign_checkpoint(directory, config_hash)
    _checked.clear()
    _checked[digest(config)] = parts


def train_here(config: Config, directory: Path, overrides: Sequence[str]) -> dict[str, float]:
    """Train a checked config in this process, alone or as one of the started processes of its run."""
    parts = _checked.pop(digest(config), None) or assemble(config)
    if in_process_group():
        directory = broadcast_directory(directory if is_first_process() else None)
    if not is_first_process():  # only the first process of a run writes to its directory
        return fit_and_test(parts, directory)
    directory.mkdir(parents=True, exist_ok=True)
    with lock(directory):
        info = begin(config, directory, overrides)
        try:
            metrics = fit_and_test(parts, directory, info)
            end(directory, info, metrics)
        except BaseException as error:
            reraise_signal(end(directory, info, error), error)
            raise
    if not config["study"]["variant"]:
        _print_result(metrics, directory)
    return metrics


def begin(config: Config, directory: Path, overrides: Sequence[str]) -> Config:
    """Write the `run.json` of a run that starts or resumes, and return its content.

    Raises:
        InUseError: another process that executes the same study has just completed it.
    """
    if config["study"]["variant"] and completed(directory):
        raise InUseError(f"{directory} was in use by another process")
    info = provenance(config, overrides) | {"config_hash": identity(directory, config)}
    if (directory / "checkpoints/last.ckpt").is_file():
        info["resumed"] = {k: v for k, v in Record.load(directory).info.items() if k in EXACT_WITH}
    write_json(directory / "run.json", info)
    return info


def end(directory: Path, info: Config, outcome: Mapping[str, float] | BaseException) -> str | None:
    """Write a run's outcome, metrics or an error; returns the name of the signal that stopped it, or None."""
    stopped = None
    if isinstance(outcome, BaseException):
        stopped = _stop_signal(outcome)
        info |= {"status": "interrupted" if stopped else "failed", "cause": stopped or cause(outcome)}
    else:
        write_json(directory / "metrics.json", outcome)
        info["status"] = "completed"
    info["ended"] = now()
    write_json(directory / "run.json", info)
    return stopped


def reraise_signal(stopped: str | None, error: BaseException) -> None:
    """Raise the exception of the signal that stopped a run; return if none did.

    Raises:
        KeyboardInterrupt, SystemExit: the signal was SIGINT, SIGTERM.
    """
    if stopped == "SIGTERM":
        raise SystemExit(143) from error
    if stopped == "SIGINT":
        raise KeyboardInterrupt from error  # Lightning turns it into SystemExit(1)


def _stop_signal(error: BaseException) -> str | None:
    """Return the name of the signal that caused an exception, or None."""
    if isinstance(error, SIGTERMException) or (isinstance(error, SystemExit) and error.code == 143):
        return "SIGTERM"  # SIGTERMException during the test, SystemExit during the fit
    return "SIGINT" if any(isinstance(each, KeyboardInterrupt) for each in (error, error.__context__)) else None


def _print_result(metrics: Mapping[str, float], directory: Path) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("metric", "value", box=None, pad_edge=False)
    table.columns[1].justify = "right"
    for name, value in metrics.items():
        table.add_row(name, f"{value:.4f}" if "/" in name else show(value))
    console = Console()
    console.print(table)
    shown = os.path.relpath(directory)
    text = f"\nrun          {shown}\nTensorBoard  tensorboard --logdir {shlex.quote(shown)}"
    console.print(text, soft_wrap=True, highlight=False)


def resume(directory: Path, overrides: Sequence[str]) -> None:
    """Resume a run from its last checkpoint; only `trainer.max_epochs` may change.

    `trusted_modules` is never read from the run's config, which may be somebody else's, but from the overrides only.

    Raises:
        ValueError: the directory holds no run, or another key is given.
    """
    for override in overrides:
        if not override.startswith(("trainer.max_epochs=", "trusted_modules=")):
            raise ValueError(f"{override}: a resumed run keeps its config; only trainer.max_epochs may change")
    run = Record.load(directory)
    with value_errors():
        config = resumed_config(directory, overrides)
    if "given" in run.info:
        raise ValueError(f"{directory} was not trained; init_from={directory} starts a training with its weights")
    epochs = config["trainer"]["max_epochs"]
    # `train` refuses values that are not numbers
    if run.status == "completed" and isinstance(epochs, int) and run.metrics.get("epochs", 0) >= epochs:
        print(f"nothing to do: {directory} is completed")
        return
    train(config, directory, run.info["overrides"])
