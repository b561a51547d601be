"""Write curves over seeds as TensorBoard runs: `mean/<variant>`, `lowest/<variant>` and `highest/<variant>`.

They have the same scalars at the same steps as the runs of the seeds, so that TensorBoard draws all into one chart.
`mean/<variant>` also has the standard deviation of each final metric, and is a trial of the variant's row in the
HParams tab, which then shows mean and standard deviation.
"""

import contextlib
import hashlib
import os
import struct
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

from cnnlab.reporting.study import Comparison, Study

KINDS = ("mean", "lowest", "highest")
OWN = ".cnnlab-"  # in an event file's name, before the digest of its content
SETTINGS = "events.out.tfevents.*-settings"  # a run's file with its row of the HParams tab
ROW = "_hparams_/session_start_info"
POINTS = 300  # of a curve, at most; longer ones are thinned evenly, and keep both ends

Scalars = Mapping[str, tuple[NDArray[np.int64], NDArray[np.float64]]]  # by tag: steps, values


def write_events(study: Study, directory: Path) -> None:
    """Write the missing event files of a study, and remove outdated ones.

    A file's name holds a digest of its content, so that only changes are written. Nothing is written where each variant
    has one run, which is its own mean.
    """
    written = set()
    several = len(study.rows) > len({row["variant"] for row in study.rows})
    for comparison in study.comparisons if several else []:
        name = comparison.variant.name
        run_dirs = [directory / row["run_dir"] for row in study.rows if row["variant"] == name]
        row = _hparams_row(run_dirs)
        for kind in KINDS:
            if scalars := _scalars(study, comparison, kind):
                written.add(_write(directory / kind / name, scalars, row if kind == "mean" else None, run_dirs))
    for kind in KINDS:
        for path in (directory / kind).glob(f"*/events.out.tfevents.*{OWN}*"):
            if path not in written:
                path.unlink(missing_ok=True)
                with contextlib.suppress(OSError):  # the folder holds other files
                    path.parent.rmdir()


def _scalars(study: Study, comparison: Comparison, kind: str) -> Scalars:
    """Return the scalars of one of the KINDS: curves at each step, and the final metrics at step 0."""
    curves = study.curves[comparison.variant.name]
    found = {tag: _thinned(curve.steps, getattr(curve, kind)) for tag, curve in curves.items() if tag != "epoch"}
    final: dict[str, float] = {}
    for name, (mean, sd) in comparison.metrics.items():
        tag = f"final/{name}" if "/" in name else f"run/{name}"
        values = [row[name] for row in comparison.runs if row.get(name) is not None]
        final[tag] = {"mean": mean, "lowest": min(values), "highest": max(values)}[kind]
        if kind == "mean" and "/" in name and sd is not None:
            final[f"{tag}_sd"] = sd
    if kind == "mean" and comparison.runs:
        final["run/runs"] = len(comparison.runs)
    once = np.zeros(1, np.int64)
    return found | {tag: (once, np.array([value], np.float64)) for tag, value in final.items()}


def _thinned(steps: NDArray[np.int64], values: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    chosen = np.linspace(0, len(steps) - 1, min(POINTS, len(steps))).round().astype(int)
    return steps[chosen], values[chosen]


def _write(folder: Path, scalars: Scalars, row: bytes | None, run_dirs: Sequence[Path]) -> Path:
    """Write one event file atomically, unless it exists; return its path.

    Its time is that of the newest log it is made from, so that two simultaneous reports write the same file.
    """
    digest = hashlib.sha256(row or b"")
    for tag, arrays in sorted(scalars.items()):
        digest.update(b"".join([tag.encode(), *(array.tobytes() for array in arrays)]))
    ending = f"{OWN}{digest.hexdigest()[:16]}"
    for path in folder.glob(f"events.out.tfevents.*{ending}"):
        return path
    logs = [path for run_dir in run_dirs for path in run_dir.glob("csv/version_*/metrics.csv")]
    time = int(max((path.stat().st_mtime for path in logs), default=0))
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"events.out.tfevents.{time:010d}{ending}"
    temporary = folder / f".{os.getpid()}.part"
    with temporary.open("wb") as file:
        writer = RecordWriter(file)
        for event in _events(scalars, row):
            event.wall_time = time
            writer.write(event.SerializeToString())
    temporary.replace(path)
    return path


def _events(scalars: Scalars, row: bytes | None) -> Iterator[Event]:
    """Yield the events of a file: the version, a start, the row of the HParams tab, the values of each step.

    At a session start TensorBoard discards the earlier files of the run.
    """
    yield Event(file_version="brain.Event:2")
    yield Event(step=0, session_log=SessionLog(status=SessionLog.START))
    if row is not None:
        yield Event(step=0, summary=Summary(value=[Summary.Value.FromString(row)]))
    by_step: dict[int, list[Any]] = {}
    for tag, (steps, values) in scalars.items():
        for step, value in zip(steps.tolist(), values.tolist(), strict=True):
            by_step.setdefault(step, []).append(Summary.Value(tag=tag, simple_value=value))
    for step, own in sorted(by_step.items()):
        yield Event(step=step, summary=Summary(value=own))


def _hparams_row(run_dirs: Sequence[Path]) -> bytes | None:
    """Return the first row of the HParams tab in these run directories, a serialized `Summary.Value`, or None."""
    for path in (path for run_dir in run_dirs for path in sorted(run_dir.glob(SETTINGS))):
        for record in _records(path.read_bytes()):
            with contextlib.suppress(Exception):  # protobuf's, where it is damaged
                for value in Event.FromString(record).summary.value:
                    if value.tag == ROW:
                        return bytes(value.SerializeToString(deterministic=True))
    return None


def _records(content: bytes) -> Iterator[bytes]:
    """Yield the records of an event file: a length of 8 bytes, 4 of its checksum, the record, 4 of its checksum."""
    offset = 0
    while offset + 12 <= len(content):
        (length,) = struct.unpack_from("<Q", content, offset)
        yield content[offset + 12 : offset + 12 + length]
        offset += length + 16
