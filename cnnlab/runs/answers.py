"""Write and read a run's predictions on each validation and test example: `answers.npz` in its run directory."""

import os
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile

import numpy as np
from numpy.typing import NDArray

NAME = "answers.npz"
STAGES = ("val", "test")
FIELDS = {"label": np.int16, "guess": np.int16, "probability": np.float16}


@dataclass(frozen=True)
class Answers:
    """Predictions on N examples, in the order of the data."""

    label: NDArray[np.int16]  # (N,), true class
    guess: NDArray[np.int16]  # (N,), predicted class
    probability: NDArray[np.float16]  # (N,), of the predicted class

    @property
    def hits(self) -> NDArray[np.bool_]:
        """Return which predictions are right, (N,)."""
        return np.equal(self.label, self.guess)


def write_answers(directory: Path, answers: Mapping[str, Answers], classes: Sequence[str]) -> None:
    """Write a run's answers by stage (`val`, `test`), and the class names, atomically.

    The file is numpy's zip archive, whose members carry checksums.
    """
    arrays = {f"{stage}_{name}": getattr(own, name) for stage, own in answers.items() for name in FIELDS}
    temporary = directory / f".{NAME}.{os.getpid()}"
    with temporary.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, classes=np.array(classes), **arrays)
    temporary.replace(directory / NAME)


def read_answers(directory: Path) -> dict[str, Answers]:
    """Read a run's answers by stage; {} if the run was not fitted, or by an earlier version.

    Raises:
        ValueError: the file is damaged.
    """
    arrays, answers = _read(directory), {}
    for stage in STAGES:
        own = {name: arrays[f"{stage}_{name}"] for name in FIELDS if f"{stage}_{name}" in arrays}
        kinds = {name: values.dtype for name, values in own.items() if values.ndim == 1}
        if own and (kinds != FIELDS or len({len(values) for values in own.values()}) > 1):
            raise ValueError(f"{directory / NAME} is damaged: the answers to {stage} images are incomplete")
        if own:
            answers[stage] = Answers(**own)
    return answers


def read_classes(directory: Path) -> list[str]:
    """Read the names of the classes, in label order; [] if there are no answers.

    Raises:
        ValueError: the file is damaged.
    """
    return [str(name) for name in _read(directory).get("classes", [])]


def _read(directory: Path) -> dict[str, NDArray[Any]]:
    path = directory / NAME
    if not path.is_file():
        return {}
    try:
        with ZipFile(path) as archive:  # numpy does not verify checksums
            if spoilt := archive.testzip():
                raise ValueError(f"the checksum of {spoilt} is wrong")
        with np.load(path, allow_pickle=False) as arrays:
            return dict(arrays)
    except (OSError, ValueError, KeyError, EOFError, BadZipFile, zlib.error) as error:
        raise ValueError(f"{path} is damaged: {error}") from error
