"""Train a network, test the best checkpoint, write a run directory."""

import json
import sys
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from cnnlab.config.command import command
from cnnlab.config.compose import compose, plain, refuse_several_runs, refuse_sweep, write_composed
from cnnlab.config.errors import one_line_errors, value_errors
from cnnlab.config.identity import config_hash
from cnnlab.config.keys import refuse_study_keys
from cnnlab.config.values import check_values
from cnnlab.distributed.world import in_process_group, is_first_process
from cnnlab.trained.run import Run

NO_STUDY = "this is a single run; -m or ablation=NAME makes a study"


class CheckBeforeRun(Callback):
    """Hydra callback that refuses an invalid train config before its run directory is made."""

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Check the config; exit by SystemExit, because Hydra turns a callback's exceptions into warnings."""
        try:
            with one_line_errors():
                checked = plain(config)
                refuse_study_keys(checked["study"], NO_STUDY)
                check_values(checked)  # before an import that takes seconds
                _training().check_start(checked, Path(config.hydra.run.dir), config_hash(checked))
        except Exception:
            traceback.print_exc()
            sys.exit(1)


def fit(overrides: Sequence[str] = (), config_dir: str | Path | None = None) -> Run:
    """Train one run from Python, as `python -m cnnlab.train` does from a shell, and return it.

    Args:
        overrides: as on the command line, such as ["data=mnist", "model.remove=[conv2]"], or ["resume=RUN_DIR"].
        config_dir: a folder with your own configs.

    Raises:
        ValueError: an invalid request, in one line as the command prints it; no directory is left.
        FloatingPointError: the training diverged.
    """
    overrides = _override_list(overrides)
    resumed, others = _split_resume(overrides)
    if resumed is not None:
        _training().resume(resumed, others)
        return Run.load(resumed)
    with value_errors():
        refuse_sweep(overrides)
        composed, directory = compose("train", overrides, config_dir)
        refuse_several_runs(composed, overrides)
        config = plain(composed)
        refuse_study_keys(config["study"], "fit trains one run; `python -m cnnlab.train -m` makes a study")
        _training().check_start(config, directory, config_hash(config))
        write_composed(composed, directory, overrides)
    _training().train(config, directory, overrides)
    return Run.load(directory)


def _training() -> ModuleType:
    """Import the training code, with torch and Lightning, which takes seconds."""
    from cnnlab.training import run

    return run


def _override_list(overrides: Any) -> list[str]:
    """Return the overrides of `fit` as a list.

    Raises:
        ValueError: not a list of overrides; the message shows how to write one.
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
    directories = [a.partition("=")[2] for a in arguments if a.startswith("resume=") and a != "resume=null"]
    return (Path(directories[-1]) if directories else None), [a for a in arguments if not a.startswith("resume=")]


def _task(config: dict[str, Any]) -> None:
    hydra = HydraConfig.get()
    _training().train(config, Path(hydra.runtime.output_dir), list(hydra.overrides.task))


def main() -> None:
    """Run the command."""
    resumed, others = _split_resume(sys.argv[1:])
    if resumed is None and (is_first_process() or not in_process_group()):
        command("train", _task)()
        return
    with one_line_errors():
        if resumed is not None:
            _training().resume(resumed, others)
        else:  # a further process of torchrun or SLURM, for which Hydra would make a directory of its own
            composed, directory = compose("train", sys.argv[1:])
            _training().train(plain(composed), directory)


if __name__ == "__main__":
    main()
