"""Forms of examples: how one is read from a file, and becomes what a network takes.

Pictures are bytes of channel, row and column. To add a form, make a Form and name it in a Source.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

Config = Mapping[str, Any]


class Facts(NamedTuple):
    """What data tells a network."""

    shape: tuple[int, ...]  # of one example as the network takes it, without the batch axis
    num_classes: int
    vocabulary: tuple[str, ...] = ()  # the words by their ids, where examples are sentences


class Scale(NamedTuple):
    """What the places along an axis mean."""

    unit: str
    values: list[float]  # of each place, rising or falling


@dataclass(frozen=True)
class Form:
    """What the examples of a source are."""

    name: str  # of one example
    axes: tuple[str, ...]  # names of the axes of what a network takes
    suffixes: frozenset[str]  # of files that hold an example each
    facts: Callable[[Facts, Config], Facts]  # of what a network takes, from those of what was loaded
    to_input: Callable[[Tensor, Facts, Config], Tensor]  # loaded examples (N, ...) as a network takes them
    read: Callable[[Path, Facts, Config], Tensor]  # a file as a network takes it, (n, ...); OSError or ValueError
    # by the name of the axis, where its places mean quantities, in what a network takes
    scales: Callable[[Facts, Config], dict[str, Scale]] | None = None
    read_by: tuple[str, ...] = ()  # keys of the data config that decide how files of any dataset are loaded


# keys of `data` that change pictures alone, with the values at which they change nothing
OF_PICTURES = {"channels": None, "resize": None, "crop": None, "trim": 0, "permute_pixels": False}


def no_pictures(facts: Facts, config: Config) -> Facts:
    """Return facts as they are, of examples that are no pictures.

    Raises:
        ValueError: a key of the data config that changes pictures alone is set.
    """
    for key, nothing in OF_PICTURES.items():
        if (value := config.get(key, nothing)) != nothing:
            raise ValueError(f"data.{key}={value} is for pictures, and data={config['name']} holds none")
    return facts


def as_loaded(inputs: Tensor, facts: Facts, config: Config) -> Tensor:
    """Return examples as they were loaded."""
    return inputs


def no_files(path: Path, facts: Facts, config: Config) -> Tensor:
    """Refuse to read a file.

    Raises:
        ValueError: always.
    """
    raise ValueError(f"examples of data={config['name']} are in no files; give Run.predict a tensor")


# series, volumes, or whatever else a source of one's own has: channels and axes of any number
ARRAYS = Form("array", (), frozenset(), no_pictures, as_loaded, no_files)


def as_floats(inputs: Tensor) -> Tensor:
    """Bytes as floats from 0 to 1, samples of sound from -1 to 1; floats and ids of words as they are."""
    largest = {torch.uint8: 255, torch.int16: 32768}.get(inputs.dtype)
    return inputs if largest is None else inputs.float() / largest


def in_parts(step: Callable[[Tensor], Tensor], inputs: Tensor, size: int) -> Tensor:
    """Take so many examples at once through a step, so that the floats of a large set never stand in memory."""
    if torch.compiler.is_exporting():  # a graph has no loop
        return step(inputs)
    return torch.cat([step(part) for part in inputs.split(size)])


def find_files(path: Path, suffixes: frozenset[str]) -> list[Path]:
    """Return the files of a folder and its subfolders that end so, sorted."""
    return sorted(p for p in path.rglob("*") if p.suffix.lower() in suffixes and p.is_file())
