"""The run directory: what a run leaves behind, and how to take it up again."""

import contextlib
import csv
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
    from cnnlab.reporting.tables import Table

SCHEMA = 1
PACKAGES = ("cnnlab", "torch", "torchvision", "lightning", "hydra-core", "numpy")
# where and how a run was carried out, not what it computed
NOT_IDENTITY = ("data_dir", "output_dir", "run_name", "resume", "checkpoint_every", "trusted_modules", "study")
PLACES = {"run_name", "output_dir", "data_dir", "data.dir", "resume"}
STATUSES = ("running", "completed", "failed", "interrupted")
# in run.json, and of what kind each is
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
LARGEST = 1e100  # that a metric may be
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
    def load(cls, directory: Any) -> "Run":
        """The run of a directory, named by a path; Hydra reads `run=7` as a number.

        Raises:
            ValueError: there is no run in it.
        """
        path = Path("" if directory is None else str(directory))
        if not (path / "run.json").is_file():
            raise ValueError(f"{path} is no run directory: it has no run.json")
        return cls(path)

    @property
    def info(self) -> dict[str, Any]:
        """What `run.json` says; `status` is interrupted where the process that was running is gone."""
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
        """Running, completed, failed or interrupted."""
        return str(self.info["status"])

    @property
    def metrics(self) -> dict[str, float]:
        """What `metrics.json` says; empty before the run is done."""
        path = self.directory / "metrics.json"
        metrics = read_json(path) if path.is_file() else {}
        for name, value in metrics.items():
            is_number = isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < LARGEST
            if not is_number or (name.endswith("acc") and not 0 <= value <= 1):
                raise ValueError(f"{path} is damaged: {name} is {value!r}")
        return metrics

    @cached_property
    def config(self) -> dict[str, Any]:
        """The resolved config, as plain containers."""
        from cnnlab.config import load_config

        return load_config(self.directory)

    def reading(self, data_dir: Any) -> "Run":
        """Return the run with its data in another folder, as on another machine; None leaves them where they were."""
        run = Run(self.directory)
        if data_dir is not None:
            run.config["data"]["dir"] = str(data_dir)
        return run

    def classifier(self, checkpoint: str = "best") -> "Classifier":
        """The trained classifier, on the CPU, in evaluation mode.

        Raises:
            ValueError: there is no such checkpoint, or it cannot be read.
        """
        return load_classifier(self.directory / "checkpoints" / f"{checkpoint}.ckpt", self.info["config_hash"])

    def network(self, checkpoint: str = "best") -> "Network":
        """The trained network, on the CPU, in evaluation mode: images (N, C, H, W), bytes or 0 to 1, to logits."""
        return self.classifier(checkpoint).network

    @property
    def classes(self) -> list[str]:
        """The class names, in label order."""
        return self.classifier().classes

    @property
    def history(self) -> "Table":
        """A row for each epoch so far: `epoch`, from 1, `train/loss`, `val/loss`, `val/acc` and what else is logged.

        Raises:
            ValueError: the run was trained without the CSV logger, or its log is damaged.
        """
        rows = read_history(self.directory)
        loggers = (self.config["logger"] or {}).values()
        if not rows and not any("CSVLogger" in str(logger.get("_target_")) for logger in loggers if logger):
            raise ValueError(f"{self.directory} has no history, which the CSV logger writes; train with logger=default")
        return rows

    def predict(self, images: Any) -> "Table":
        """Answer for images in memory or in files, a row for each.

        Args:
            images: a tensor or array (N, C, H, W), or one image (C, H, W), bytes or floats from 0 to 1; or an image
                file of any size, a folder of them, or a list of files and folders.

        Returns rows of `label` and `probability`; for files of `file`, `label`, `probability`, `error`.

        Raises:
            ValueError: there is no such file, or a tensor has another shape than the network takes.
        """
        from cnnlab.predict import files_of, predict, predict_images

        return predict_images(self, images) if hasattr(images, "shape") else predict(self, files_of(images))

    def evaluate(
        self,
        data: str | Sequence[str] | Mapping[str, Any] | None = None,
        lesion: str | Sequence[str] | None = None,
        lesion_by: str | None = None,
    ) -> "dict[str, Any] | Table":
        """Test the best checkpoint, as `python -m cnnlab.evaluate` does.

        Args:
            data: a dataset, "mnist", or overrides as on the command line, ["data=image_folder", "data.path=..."], or a
                data config as a plain mapping; the run's own data if not given.
            lesion: what is silenced: a list of layers or channels together, or "each", or "each:conv3".
            lesion_by: what replaces an output: "mean", which is the default, "zero" or "pass".

        Returns `test/loss`, `test/acc`, `images`, `per_class`; with `lesion` a table of `lesion`, `test/acc`, `change`.

        Raises:
            ValueError: in one line, what the command would say.
        """
        from cnnlab.evaluate import as_asked, request

        return as_asked(self, request(self, data, lesion, lesion_by))

    def __repr__(self) -> str:
        accuracy = self.metrics.get("test/acc")
        return f"Run({str(self.directory)!r}, {self.status}" + (f", test/acc={accuracy:.4f})" if accuracy else ")")


def completed(directory: Path) -> bool:
    """Whether there is nothing left to do in a run directory."""
    return (directory / "run.json").is_file() and Run.load(directory).status == "completed"


def decide(logits: Any, classes: Sequence[str]) -> list[dict[str, Any]]:
    """Label and probability for each row of logits (N, classes)."""
    probability, index = logits.softmax(1).max(1)
    return [{"label": classes[i], "probability": p} for i, p in zip(index.tolist(), probability.tolist(), strict=True)]


def load_classifier(checkpoint: Path, config_hash: str) -> "Classifier":
    """The classifier of a checkpoint, on the CPU, in evaluation mode; nothing in the file is executed.

    Raises:
        ValueError: the file is missing, damaged, of another run than the one with this config hash, holds more than
            tensors and plain containers, or a weight that is not finite.
    """
    from cnnlab.checkpoints import READ_ERRORS, read, refuse_other_run
    from cnnlab.classifier import Classifier
    from cnnlab.finite import infinite_weight

    keep_freed()
    content = read(checkpoint)
    refuse_other_run(content, config_hash, checkpoint)
    try:
        classifier = Classifier(**content["hyper_parameters"])
        classifier.load_state_dict(content["state_dict"])
    except READ_ERRORS as error:
        raise ValueError(f"{checkpoint} holds no network of cnnlab: {str(error).partition(chr(10))[0]}") from error
    if layer := infinite_weight(classifier.network):
        raise ValueError(f"{checkpoint}: a weight of {layer} is not finite, so that no answer would mean anything")
    return classifier.eval()


def compare(runs: Run | str | Path | Sequence[Run | str | Path]) -> "Table":
    """Put runs beside each other: what differs in their configs, and their metrics.

    Args:
        runs: runs or run directories; or the directory of a study, whose rows are named by variant and seed, or another
            folder of run directories.

    Returns a list of rows (mappings); printed, or as the last line of a notebook cell, it is a table. Runs that are not
    completed have a `status`.

    Raises:
        ValueError: there are no runs.
    """
    from cnnlab.reporting.tables import Table

    given = [runs] if isinstance(runs, (Run, str, Path)) else runs
    named = [pair for item in given for pair in ([(_name(item), item)] if isinstance(item, Run) else _runs_in(item))]
    if not named:
        raise ValueError("there is nothing to compare: give runs, or the directory of a study")
    flats = [flatten(run.config) for _, run in named]
    of_studies = all("variant" in name for name, _ in named)  # where the other keys of `study` say nothing more
    varied = [key for key in differing(flats) if not (of_studies and key.startswith("study."))]
    unfinished = any(run.status != "completed" for _, run in named)
    return Table(
        {
            **name,
            **{key: flat.get(key) for key in varied},
            **({"status": run.status} if unfinished else {}),
            **run.metrics,
        }
        for (name, run), flat in zip(named, flats, strict=True)
    )


def _name(run: Run) -> dict[str, Any]:
    return {"run": run.directory.name}


def _runs_in(directory: str | Path) -> list[tuple[dict[str, Any], Run]]:
    """Return the run of a directory, or those of a study or of a folder of run directories, with what names each.

    Raises:
        ValueError: there are none.
    """
    path = Path(directory)
    if (path / "run.json").is_file():
        run = Run.load(path)
        return [(_name(run), run)]
    if (path / "plan.json").is_file():
        from cnnlab.studies import Plan, runs_of

        plan = Plan.load(path)
        order = [variant.name for variant in plan.variants]
        jobs = sorted(runs_of(plan, path), key=lambda pair: (order.index(pair[0].variant), pair[0].seed))
        found = [({"variant": job.variant, "seed": job.seed}, run) for job, run in jobs if run]
    else:
        found = [(_name(run), run) for run in (Run.load(p.parent) for p in sorted(path.glob("*/run.json")))]
    if not found:
        raise ValueError(f"{path} holds no runs" if path.is_dir() else f"{path}: there is no such directory")
    return found


def read_history(directory: Path) -> "Table":
    """Return a row for each epoch of a run from the logs of the CSV logger; no rows where there are none.

    A resumed run has several logs; what a later one says of an epoch counts.

    Raises:
        ValueError: a log is damaged.
    """
    from cnnlab.reporting.tables import Table

    logs = {
        int(p.parent.name[8:]): p for p in directory.glob("csv/version_*/metrics.csv") if p.parent.name[8:].isdigit()
    }
    epochs: dict[int, dict[str, float]] = {}
    for _, path in sorted(logs.items()):
        try:
            with path.open(newline="") as file:
                for line in csv.DictReader(
                    file.read().rpartition("\n")[0].splitlines()
                ):  # the last may be half written
                    values = {k: float(v) for k, v in line.items() if v and k != "step" and not k.startswith("test/")}
                    if len(values) > 1 and "epoch" in values:
                        epochs.setdefault(int(values.pop("epoch")) + 1, {}).update(values)
        except (ValueError, AttributeError, TypeError, csv.Error) as error:
            raise ValueError(f"{path} is damaged: {error}") from error
    first = ("train/loss", "val/loss", "val/acc")
    columns = [*first, *sorted({name for row in epochs.values() for name in row} - {*first})]
    return Table(
        {"epoch": epoch, **{name: row[name] for name in columns if name in row}}
        for epoch, row in sorted(epochs.items())
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


def identity(directory: Path, config: Mapping[str, Any]) -> str:
    """The hash of the config that a run began with; a resume may have changed how long it trains."""
    from cnnlab.config import load_config

    begun = (directory / "run.json").is_file() and (directory / ".hydra/config.yaml").is_file()
    return config_hash(load_config(directory) if begun else config)


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
