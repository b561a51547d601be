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
    read: Callable[[Path, Facts, Config], Tensor]  # a file as a network takes it, (1, ...); OSError or ValueError
    # by the name of the axis, where its places mean quantities, in what a network takes
    scales: Callable[[Facts, Config], dict[str, Scale]] = lambda facts, config: {}
    read_by: tuple[str, ...] = ()  # keys of the data config that decide how files of any dataset are loaded


def as_floats(inputs: Tensor) -> Tensor:
    """Bytes as floats from 0 to 1, samples of sound from -1 to 1; floats and ids of words as they are."""
    largest = {torch.uint8: 255, torch.int16: 32768}.get(inputs.dtype)
    return inputs if largest is None else inputs.float() / largest


def find_files(path: Path, suffixes: frozenset[str]) -> list[Path]:
    """Return the files of a folder and its subfolders that end so, sorted."""
    return sorted(p for p in path.rglob("*") if p.suffix.lower() in suffixes and p.is_file())
