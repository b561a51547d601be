"""Find the files of a dataset, or download them, once for all processes of a machine."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from filelock import FileLock

from cnnlab.data.forms import Config


def fetch(config: Config, name: str, dataset: Callable[..., Any]) -> None:
    """Let torchvision download and check files; one process does, the others wait and find them."""
    directory = Path(config["dir"])
    directory.mkdir(parents=True, exist_ok=True)
    with FileLock(lock(config, name)):
        dataset(directory, download=True)


def lock(config: Config, name: str) -> Path:
    """Return the file that is locked while a dataset is downloaded."""
    return Path(config["dir"]) / f".{name}.lock"


@contextlib.contextmanager
def found_or_fetched(config: Config, files: str) -> Iterator[None]:
    """Turn a failure into a ValueError of one line: what is missing, where, and which data need no network."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        reason = str(error).strip().partition("\n")[0].rstrip(":") or type(error).__name__
        raise ValueError(
            f"data={config['name']}: no usable {files} in {Path(config['dir']).absolute()} and no download ({reason}); "
            "put the official files there, name their folder with data_dir=..., "
            "or take data=digits or data=xo, which need no network"
        ) from error
