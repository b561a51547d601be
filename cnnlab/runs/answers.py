"""What a run answered to each validation and test image: `answers.npz` in its run directory."""

import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

NAME = "answers.npz"
STAGES = ("val", "test")


@dataclass(frozen=True)
class Answers:
    """To N images, in the order of the data.

    Args:
        label: (N,) int16, the class that each image is of.
        guess: (N,) int16, the class that is most probable to the network.
        probability: (N,) float16, of that class.
    """

    label: NDArray[np.int16]
    guess: NDArray[np.int16]
    probability: NDArray[np.float16]

    @property
    def hits(self) -> NDArray[np.bool_]:
        """Tell which answers are right, (N,)."""
        hits: NDArray[np.bool_] = self.label == self.guess
        return hits


def write_answers(directory: Path, answers: Mapping[str, Answers]) -> None:
    """Write the answers of a run, by stage (`val`, `test`), whole or not at all.

    The file is a zip archive, whose members carry checksums, as numpy writes it.
    """
    arrays = {f"{stage}_{f.name}": getattr(own, f.name) for stage, own in answers.items() for f in fields(Answers)}
    temporary = directory / f".{NAME}.{os.getpid()}"
    with temporary.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)
    temporary.replace(directory / NAME)


def read_answers(directory: Path) -> dict[str, Answers]:
    """Read the answers of a run, by stage; none where an earlier version, or no fit, made the directory.

    Raises:
        ValueError: the file is damaged.
    """
    path = directory / NAME
    if not path.is_file():
        return {}
    try:
        with np.load(path, allow_pickle=False) as arrays:
            found = {
                stage: Answers(*(arrays[f"{stage}_{f.name}"] for f in fields(Answers)))
                for stage in STAGES
                if f"{stage}_label" in arrays
            }
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zipfile.error) as error:
        raise ValueError(f"{path} is damaged: {error}") from error
    for own in found.values():
        if len({getattr(own, f.name).shape for f in fields(Answers)}) > 1 or own.label.ndim != 1:
            raise ValueError(f"{path} is damaged: it has not as many answers as labels")
    return found
