"""Train a network, test the best checkpoint, leave a run directory."""

import json
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cnnlab import runs
from cnnlab.checks import check, refuse_foreign_checkpoint
from cnnlab.config import (
    command,
    compose,
    one_line_errors,
    plain,
    refuse_several_runs,
    refuse_sweep,
    resumed_config,
    value_errors,
    write_composed,
)
from cnnlab.keys import refuse_study_keys
from cnnlab.training import fit_and_test

Config = dict[str, Any]


def train(config: Config, directory: Path, overrides: Sequence[str] = ()) -> dict[str, float]:
    """Fit, then test the best checkpoint; returns what `metrics.json` says.

    Args:
        config: a train config as plain containers.
        directory: the run directory; where it holds a checkpoint of the same run already, the fit goes on from it.
        overrides: as recorded in `run.json`.

    Raises:
        ValueError: the config asks for what cannot be.
        FloatingPointError: the training diverged.
    """
    from cnnlab.distributed.launch import launch, needs_launch
    from cnnlab.distributed.world import first, joined

    if first() or joined():
        check(config)
        refuse_foreign_checkpoint(directory, runs.identity(directory, config))
    if needs_launch(config["trainer"]):
        from cnnlab.data.sources import forget

        forget()  # what the check loaded; the processes that train hold their own
        launch(config, directory, overrides)
        return runs.Run.load(directory).metrics
    return train_here(config, directory, overrides)


def train_here(config: Config, directory: Path, overrides: Sequence[str]) -> dict[str, float]:
    """Train a checked config in this process: alone, or with the others of its run, which somebody has started."""
    from cnnlab.distributed.world import agree, first, joined

    if joined():
        directory = agree(directory if first() else None)
    if not first():  # another process of the same run, which leaves the directory to the first
        return fit_and_test(config, directory)
    directory.mkdir(parents=True, exist_ok=True)
    with runs.lock(directory):
        info = begin(config, directory, overrides)
        try:
            metrics = fit_and_test(config, directory, info)
            end(directory, info, metrics)
        except BaseException as error:
            pass_on(end(directory, info, error), error)
            raise
    if not config["study"]["variant"]:
        _print_result(metrics, directory)
    return metrics


def begin(config: Config, directory: Path, overrides: Sequence[str]) -> Config:
    """Write the `run.json` of a run that starts, or goes on; returns what it says.

    Raises:
        InUseError: another process at work on the same study has just completed it.
    """
    if config["study"]["variant"] and runs.completed(directory):
        raise runs.InUseError(f"{directory} was in use by another process")
    info = runs.provenance(config, overrides) | {"config_hash": runs.identity(directory, config)}
    if (directory / "checkpoints/last.ckpt").is_file():
        info["resumed"] = {k: v for k, v in runs.Run.load(directory).info.items() if k in runs.EXACT_WITH}
    runs.write_json(directory / "run.json", info)
    return info


def end(directory: Path, info: Config, outcome: Mapping[str, float] | BaseException) -> str | None:
    """Write what became of a run, its metrics or an error; returns the signal that stopped it, if one did."""
    stopped = None
    if isinstance(outcome, BaseException):
        stopped = _stop_signal(outcome)
        info |= {"status": "interrupted" if stopped else "failed", "cause": stopped or runs.cause(outcome)}
    else:
        runs.write_json(directory / "metrics.json", outcome)
        info["status"] = "completed"
    info["ended"] = runs.now()
    runs.write_json(directory / "run.json", info)
    return stopped


def pass_on(stopped: str | None, error: BaseException) -> None:
    """Leave as a process does that a signal has stopped, where one did.

    Raises:
        KeyboardInterrupt, SystemExit: the signal was SIGINT, SIGTERM.
    """
    if stopped == "SIGTERM":
        raise SystemExit(143) from error
    if stopped == "SIGINT":
        raise KeyboardInterrupt from error  # Lightning turns it into SystemExit(1)


def _stop_signal(error: BaseException) -> str | None:
    """The signal behind an exception, if one is."""
    from lightning.pytorch.utilities.exceptions import SIGTERMException

    if isinstance(error, SIGTERMException) or (isinstance(error, SystemExit) and error.code == 143):
        return "SIGTERM"  # the former in a test
    return (
        "SIGINT" if isinstance(error, KeyboardInterrupt) or isinstance(error.__context__, KeyboardInterrupt) else None
    )


def _print_result(metrics: Mapping[str, float], directory: Path) -> None:
    from rich.console import Console
    from rich.table import Table

    from cnnlab.reporting.tables import show

    table = Table("metric", "value", box=None, pad_edge=False)
    table.columns[1].justify = "right"
    for name, value in metrics.items():
        table.add_row(name, f"{value:.4f}" if "/" in name else show(value))
    console = Console()
    console.print(table)
    shown = os.path.relpath(directory)
    text = f"\nrun          {shown}\nTensorBoard  tensorboard --logdir {shlex.quote(shown)}"
    console.print(text, soft_wrap=True, highlight=False)


def fit(overrides: Sequence[str] = (), config_dir: str | Path | None = None) -> runs.Run:
    """Train one run from Python, as `python -m cnnlab.train` does from a shell, and return it.

    Args:
        overrides: as on the command line, such as ["data=mnist", "model.remove=[conv2]"], or ["resume=RUN_DIR"].
        config_dir: a folder with configs of one's own.

    Raises:
        ValueError: the request cannot be carried out; in one line, as the command says it. No directory is left.
        FloatingPointError: the training diverged.
    """
    overrides = _override_list(overrides)
    resumed, others = _split_resume(overrides)
    if resumed is not None:
        resume(resumed, others)
        return runs.Run.load(resumed)
    with value_errors():
        refuse_sweep(overrides)
        composed, directory = compose("train", overrides, config_dir)
        refuse_several_runs(composed, overrides)
        config = plain(composed)
        refuse_study_keys(config["study"], "fit trains one run; `python -m cnnlab.train -m` makes a study")
        check(config)
        write_composed(composed, directory, overrides)
    train(config, directory, overrides)
    return runs.Run.load(directory)


def _override_list(overrides: Any) -> list[str]:
    """Return what `fit` was given as a list.

    Raises:
        ValueError: it is no list of overrides; the message shows how it is written.
    """
    if isinstance(overrides, str):
        raise ValueError(f"overrides are a list: fit({json.dumps(overrides.split())})")
    if isinstance(overrides, Mapping):
        written = json.dumps([f"{key}={value}" for key, value in overrides.items()])
        raise ValueError(f"overrides are a list, as on the command line: fit({written})")
    for override in overrides:
        if not isinstance(override, str):
            raise ValueError(f'overrides are text, such as "seed=1", not {override!r}')
        if override.startswith("-"):
            raise ValueError(f'{override} is an option of the command; fit takes overrides, such as "seed=1"')
    return list(overrides)


def _split_resume(arguments: Sequence[str]) -> tuple[Path | None, list[str]]:
    """Return the run directory that `resume=` names, if one is named, and the other arguments."""
    asked = [a.partition("=")[2] for a in arguments if a.startswith("resume=") and a != "resume=null"]
    return (Path(asked[-1]) if asked else None), [a for a in arguments if not a.startswith("resume=")]


def resume(directory: Path, overrides: Sequence[str]) -> None:
    """Go on with a run where its last checkpoint left it; only `trainer.max_epochs` may change.

    What modules are trusted is not taken from the run, which may be somebody else's, but from the overrides.

    Raises:
        ValueError: it is no run, or another key is given.
    """
    for override in overrides:
        if not override.startswith(("trainer.max_epochs=", "trusted_modules=")):
            raise ValueError(f"{override}: a resumed run keeps its config; only trainer.max_epochs may change")
    run = runs.Run.load(directory)
    with value_errors():
        config = resumed_config(directory, ["trusted_modules=[]", *overrides])
    epochs = config["trainer"]["max_epochs"]
    # what is no number is refused by `train`
    if run.status == "completed" and isinstance(epochs, int) and run.metrics.get("epochs", 0) >= epochs:
        print(f"nothing to do: {directory} is completed")
        return
    train(config, directory, run.info["overrides"])


def _task(config: dict[str, Any]) -> None:
    from hydra.core.hydra_config import HydraConfig

    hydra = HydraConfig.get()
    train(config, Path(hydra.runtime.output_dir), list(hydra.overrides.task))


def main() -> None:
    """The command."""
    from cnnlab.distributed.world import first, joined

    resumed, others = _split_resume(sys.argv[1:])
    if resumed is not None:
        with one_line_errors():
            resume(resumed, others)
    elif joined() and not first():  # Hydra would make it a directory of its own
        with one_line_errors():
            composed, directory = compose("train", sys.argv[1:])
            train(plain(composed), directory)
    else:
        command("train", _task)()


if __name__ == "__main__":
    main()
