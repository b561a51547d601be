"""Read, write and lock run directories."""

import contextlib
import csv
import fcntl
import json
import os
import platform
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Self

from cnnlab.config.identity import config_hash
from cnnlab.registry import one_line

SCHEMA = 1
PACKAGES = ("cnnlab", "torch", "torchvision", "lightning", "hydra-core", "numpy")
STATUSES = ("running", "completed", "failed", "interrupted")
# required keys of run.json, and their types
RECORDED: dict[str, tuple[type, ...]] = {
    "status": (str,),
    "config_hash": (str,),
    "variant": (str,),
    "removed": (list,),
    "overrides": (list,),
    "seed": (int,),
    "git": (dict, type(None)),
    "versions": (dict,),
}
LARGEST = 1e100  # value of a metric; a larger one means a damaged file
EXACT_WITH = ("device", "threads", "world_size", "versions")  # a resume is bit-identical if these are unchanged


@dataclass(frozen=True)
class Record:
    """Read a run directory."""

    directory: Path

    @classmethod
    def load(cls, directory: Any) -> Self:
        """Return the run of a directory; not only str, as Hydra reads `run=7` as a number.

        Raises:
            ValueError: the directory holds no run.
        """
        path = Path("" if directory is None else str(directory))
        if not (path / "run.json").is_file():
            raise ValueError(f"{path} is no run directory: it has no run.json")
        return cls(path)

    @property
    def info(self) -> dict[str, Any]:
        """Return the content of `run.json`; `status` is "interrupted" if the process of a running run is gone."""
        info = read_json(self.directory / "run.json")
        for key, kinds in RECORDED.items():
            if key not in info:
                raise ValueError(f"{self.directory / 'run.json'} is damaged: it has no {key}")
            if not isinstance(info[key], kinds) or (key == "status" and info[key] not in STATUSES):
                raise ValueError(f"{self.directory / 'run.json'} is damaged: {key} is {info[key]!r}")
        if info.get("status") == "running" and not locked(self.directory):
            info["status"] = "interrupted"
        return info

    @property
    def status(self) -> str:
        """Return "running", "completed", "failed" or "interrupted"."""
        return str(self.info["status"])

    @property
    def metrics(self) -> dict[str, float]:
        """Return the content of `metrics.json`; {} before the run is completed."""
        path = self.directory / "metrics.json"
        metrics = read_json(path) if path.is_file() else {}
        for name, value in metrics.items():
            is_number = isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < LARGEST
            if not is_number or (name.endswith("acc") and not 0 <= value <= 1):
                raise ValueError(f"{path} is damaged: {name} is {value!r}")
        return metrics

    @cached_property
    def config(self) -> dict[str, Any]:
        """Return the resolved config, as plain containers; raises ValueError if it is missing or damaged."""
        return saved_config(self.directory)

    def reading(self, data_dir: Any) -> Self:
        """Return a copy that reads its data from another folder, as on another machine; None keeps the folder."""
        run = type(self)(self.directory)
        if data_dir is not None:
            run.config["data"]["dir"] = str(data_dir)
        return run


def saved_config(directory: Path) -> dict[str, Any]:
    """Return the resolved config of a run directory, as plain containers.

    Raises:
        ValueError: it is missing or damaged.
    """
    from cnnlab.config.compose import load_config  # imports Hydra, which reading metrics does not need

    return load_config(directory)


def completed(directory: Path) -> bool:
    """Return whether a directory holds a completed run."""
    return (directory / "run.json").is_file() and Record.load(directory).status == "completed"


def read_history(directory: Path) -> list[dict[str, Any]]:
    """Return a row for each epoch of a run from the logs of the CSV logger; [] if there are none.

    A resumed run has several logs; for an epoch in several of them, the last counts.

    Raises:
        ValueError: a log is damaged.
    """
    epochs: dict[int, dict[str, float]] = {}
    for log in _logs(directory):
        own = {k: cells for k, cells in log.items() if k not in ("step", "epoch") and not k.startswith("test/")}
        for line, epoch in enumerate(log.get("epoch", [])):
            if epoch is not None:
                values = {name: cell for name, cells in own.items() if (cell := cells[line]) is not None}
                if values:
                    epochs.setdefault(int(epoch) + 1, {}).update(values)
    first = ("train/loss", "val/loss", "val/acc")
    columns = [*first, *sorted({name for row in epochs.values() for name in row} - {*first})]
    return [
        {"epoch": epoch, **{name: row[name] for name in columns if name in row}}
        for epoch, row in sorted(epochs.items())
    ]


def read_scalars(directory: Path) -> dict[str, dict[int, float]]:
    """Return every scalar of a run from the logs of the CSV logger, by name: its values by step.

    `epoch` is one of them: the number, from 0, of the epoch that ends at a step. A resumed run has several logs; for a
    step in several of them, the last counts.

    Raises:
        ValueError: a log is damaged.
    """
    scalars: dict[str, dict[int, float]] = {}
    for log in _logs(directory):
        steps = log.pop("step", [])
        for name, cells in log.items():
            values = {int(s): v for s, v in zip(steps, cells, strict=False) if s is not None and v is not None}
            scalars.setdefault(name, {}).update(values)
    return scalars


def _logs(directory: Path) -> Iterator[dict[str, list[float | None]]]:
    """Yield the columns of a run's logs, oldest log first; an empty cell is None.

    Raises:
        ValueError: a log is damaged.
    """
    logs = {
        int(p.parent.name[8:]): p for p in directory.glob("csv/version_*/metrics.csv") if p.parent.name[8:].isdigit()
    }
    for _, path in sorted(logs.items()):
        try:
            with path.open(newline="") as file:
                whole = file.read().rpartition("\n")[0]  # the last line may be half written
            header, *lines = filter(None, csv.reader(whole.splitlines())) if whole else [[]]
            columns = zip(*lines, strict=True) if lines else ([] for _ in header)
            found = zip(header, columns, strict=True)
            log = {name: [float(cell) if cell else None for cell in cells] for name, cells in found}
        except (ValueError, csv.Error) as error:
            raise ValueError(f"{path} is damaged: {error}") from error
        yield log


def identity(directory: Path, config: Mapping[str, Any]) -> str:
    """Return the hash of the config that a run began with, as a resume may have changed the number of epochs."""
    begun = (directory / "run.json").is_file() and (directory / ".hydra/config.yaml").is_file()
    return config_hash(saved_config(directory) if begun else config)


def provenance(config: Mapping[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """Return the content of `run.json` at the start of a run."""
    return {
        "schema": SCHEMA,
        "status": "running",
        "cause": None,
        "config_hash": config_hash(config),
        "variant": config["study"]["variant"] or config["model"]["name"],
        "removed": config["model"].get("remove") or [],
        "overrides": list(overrides),
        "seed": config["seed"],
        "git": _git(),
        "versions": {"python": platform.python_version()} | {p: _version(p) for p in PACKAGES},
        "started": now(),
        "ended": None,
    }


def now() -> str:
    """Return the time in UTC as ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _git() -> dict[str, Any] | None:
    """Return the commit of this code's checkout, and whether files differ from it; None outside of a checkout."""
    root = Path(__file__).parents[2]
    if not (root / ".git").exists():
        return None
    try:
        commit, changes = (
            subprocess.run(["git", "-C", str(root), *c], capture_output=True, text=True, check=True, timeout=10).stdout
            for c in (["rev-parse", "HEAD"], ["status", "--porcelain", "--untracked-files=no"])
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return {"commit": commit.strip(), "dirty": bool(changes.strip())}


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON file's mapping.

    Raises:
        ValueError: not JSON, or not a mapping.
    """
    try:
        content = json.loads(path.read_text())
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is damaged: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} is damaged: it holds no mapping")
    return content


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON file atomically: to a temporary file beside it, then renamed."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(json.dumps(content, indent=2) + "\n")
    temporary.replace(path)


def cause(error: BaseException) -> str:
    """Format an error for `run.json`: type and message in one line."""
    text = one_line(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def record_failure(directory: Path, config: Mapping[str, Any], overrides: Sequence[str], error: BaseException) -> None:
    """Write the `run.json` of a run that failed before it could write one."""
    directory.mkdir(parents=True, exist_ok=True)
    failed = {"status": "failed", "cause": cause(error), "ended": now()}
    write_json(directory / "run.json", provenance(config, overrides) | failed)


class InUseError(ValueError):
    """Another process holds the lock of a run directory."""


@contextlib.contextmanager
def lock(directory: Path) -> Iterator[None]:
    """Lock a run directory; the kernel releases it when the process dies.

    Raises:
        InUseError: another process holds it.
    """
    with (directory / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise InUseError(f"{directory} is in use by another process") from error
        yield


def locked(directory: Path) -> bool:
    """Return whether a process is running in a run directory."""
    try:
        with lock(directory):
            return False
    except InUseError:
        return True
    except OSError:  # a read-only copy, in which no process can be running
        return False
