"""The run directory: what a run leaves behind, and how to take it up again."""

import contextlib
import fcntl
import hashlib
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
from typing import TYPE_CHECKING, Any

from cnnlab.memory import keep_freed

if TYPE_CHECKING:
    from cnnlab.classifier import Classifier
    from cnnlab.models.network import Network

SCHEMA = 1
PACKAGES = ("cnnlab", "torch", "torchvision", "lightning", "hydra-core", "numpy")
# where and how a run was carried out, not what it computed
NOT_IDENTITY = ("data_dir", "output_dir", "run_name", "resume", "checkpoint_every", "trusted_modules", "study")
PLACES = {"run_name", "output_dir", "data_dir", "data.dir", "resume"}
RECORDED = ("status", "config_hash", "variant", "removed", "overrides", "seed", "git", "versions")  # in run.json
EXACT_WITH = ("device", "threads", "world_size", "versions")  # a resume is bit-identical where these are the same
PLACEMENT = ("accelerator", "devices", "num_nodes", "strategy", "sync_batchnorm")


@dataclass(frozen=True)
class Run:
    """A run directory, for reading.

    >>> run = Run.load("outputs/runs/...")     # doctest: +SKIP
    >>> run.metrics["test/acc"]                # doctest: +SKIP
    """

    directory: Path

    @classmethod
    def load(cls, directory: str | Path | None) -> "Run":
        """The run of a directory.

        Raises:
            ValueError: there is no run in it.
        """
        path = Path(directory or "")
        if not (path / "run.json").is_file():
            raise ValueError(f"{path} is no run directory: it has no run.json")
        return cls(path)

    @property
    def info(self) -> dict[str, Any]:
        """What `run.json` says; `status` is interrupted where the process that was running is gone."""
        info = read_json(self.directory / "run.json")
        if lacking := [key for key in RECORDED if key not in info]:
            raise ValueError(f"{self.directory / 'run.json'} is damaged: it has no {lacking[0]}")
        if info.get("status") == "running" and not locked(self.directory):
            info["status"] = "interrupted"
        return info

    @property
    def status(self) -> str:
        """Running, completed, failed or interrupted."""
        return str(self.info["status"])

    @property
    def metrics(self) -> dict[str, float]:
        """What `metrics.json` says; empty before the run is done."""
        path = self.directory / "metrics.json"
        return read_json(path) if path.is_file() else {}

    @cached_property
    def config(self) -> dict[str, Any]:
        """The resolved config, as plain containers."""
        from cnnlab.config import load_config

        return load_config(self.directory)

    def classifier(self, checkpoint: str = "best") -> "Classifier":
        """The trained classifier, on the CPU, in evaluation mode.

        Raises:
            ValueError: there is no such checkpoint, or it cannot be read.
        """
        return load_classifier(self.directory / "checkpoints" / f"{checkpoint}.ckpt")

    def network(self, checkpoint: str = "best") -> "Network":
        """The trained network, on the CPU, in evaluation mode: images (N, C, H, W), bytes or 0 to 1, to logits."""
        return self.classifier(checkpoint).network

    @property
    def classes(self) -> list[str]:
        """The class names, in label order."""
        return self.classifier().classes

    def predict(self, images: Any) -> list[dict[str, Any]]:
        """Class name and probability for images (N, C, H, W), bytes or floats from 0 to 1."""
        classifier = self.classifier()
        return decide(classifier.logits(images), classifier.classes)

    def __repr__(self) -> str:
        accuracy = self.metrics.get("test/acc")
        return f"Run({str(self.directory)!r}, {self.status}" + (f", test/acc={accuracy:.4f})" if accuracy else ")")


def decide(logits: Any, classes: Sequence[str]) -> list[dict[str, Any]]:
    """Label and probability for each row of logits (N, classes)."""
    probability, index = logits.softmax(1).max(1)
    return [{"label": classes[i], "probability": p} for i, p in zip(index.tolist(), probability.tolist(), strict=True)]


def load_classifier(checkpoint: Path) -> "Classifier":
    """The classifier of a checkpoint, on the CPU, in evaluation mode; nothing in the file is executed.

    Raises:
        ValueError: the file is missing, damaged, or holds more than tensors and plain containers.
    """
    from cnnlab.checkpoints import READ_ERRORS, read
    from cnnlab.classifier import Classifier

    keep_freed()
    content = read(checkpoint)
    try:
        classifier = Classifier(**content["hyper_parameters"])
        classifier.load_state_dict(content["state_dict"])
    except READ_ERRORS as error:
        raise ValueError(f"{checkpoint} holds no network of cnnlab: {str(error).partition(chr(10))[0]}") from error
    return classifier.eval()


def compare(runs: Sequence[Run | str | Path]) -> Any:
    """A table of runs beside each other: what differs in their configs, and their metrics.

    Returns a list of rows (mappings); printed, or as the last line of a notebook cell, it is a table.
    """
    from cnnlab.reporting.tables import Table

    loaded = [r if isinstance(r, Run) else Run.load(r) for r in runs]
    flats = [flatten(run.config) for run in loaded]
    varied = differing(flats)
    return Table(
        {"run": run.directory.name, **{k: flat.get(k) for k in varied}, **run.metrics}
        for run, flat in zip(loaded, flats, strict=True)
    )


def differing(flats: Sequence[Mapping[str, Any]]) -> list[str]:
    """The keys, sorted, in which flattened configs differ; where a run lies is no difference."""
    keys = sorted({k for flat in flats for k in flat} - PLACES)
    return [k for k in keys if len({json.dumps(flat.get(k)) for flat in flats}) > 1]


def flatten(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one, with dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, Mapping) and value:
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


# --- writing


def config_hash(config: Mapping[str, Any]) -> str:
    """Eight hexadecimal digits of what a config computes, wherever and however it is carried out."""
    identity = {k: v for k, v in config.items() if k not in NOT_IDENTITY}
    identity["trainer"] = {k: v for k, v in config["trainer"].items() if k not in PLACEMENT}
    identity["data"] = {k: v for k, v in config["data"].items() if k != "dir"}
    return digest(identity)


def digest(content: Mapping[str, Any]) -> str:
    """Eight hexadecimal digits of plain containers."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:8]


def provenance(config: Mapping[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """What `run.json` says of a run before it starts."""
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
    """The time, UTC, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _git() -> dict[str, Any] | None:
    """Commit and whether files differ from it, of the checkout this code is in; None outside of one."""
    root = Path(__file__).parents[1]
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
    """A JSON file's mapping.

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
    """Write whole or not at all: to a file beside it, then renamed."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(json.dumps(content, indent=2) + "\n")
    temporary.replace(path)


def cause(error: BaseException) -> str:
    """What `run.json` says of an error."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def record_failure(directory: Path, config: Mapping[str, Any], overrides: Sequence[str], error: BaseException) -> None:
    """Leave a `run.json` of a run that failed before it could write one."""
    directory.mkdir(parents=True, exist_ok=True)
    failed = {"status": "failed", "cause": cause(error), "ended": now()}
    write_json(directory / "run.json", provenance(config, overrides) | failed)


class InUseError(ValueError):
    """Another process holds a run directory."""


@contextlib.contextmanager
def lock(directory: Path) -> Iterator[None]:
    """Hold a run directory while its run goes on; the kernel lets go when the process dies.

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
    """Whether a run goes on in a directory."""
    try:
        with lock(directory):
            return False
    except InUseError:
        return True
    except OSError:  # a read-only copy: nobody is running in it
        return False
