"""Forms of examples, such as images or sentences: how they are read from files and become inputs of a network.

Images are bytes with axes channel, row and column. To add a form, make a Form and name it in a Source.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

Config = Mapping[str, Any]


class Facts(NamedTuple):
    """What the data determine of a network."""

    shape: tuple[int, ...]  # of one example as the network takes it, without the batch axis
    num_classes: int
    vocabulary: tuple[str, ...] = ()  # words in the order of their ids, where examples are sentences


class Scale(NamedTuple):
    """The quantity that positions along an axis stand for."""

    unit: str
    values: list[float]  # of each position, ascending or descending


@dataclass(frozen=True)
class Form:
    """The form of a source's examples."""

    name: str  # of one example
    axes: tuple[str, ...]  # names of the axes of a network's input
    suffixes: frozenset[str]  # of files with one example each
    facts: Callable[[Facts, Config], Facts]  # from the facts of loaded examples to those of a network's inputs
    to_input: Callable[[Tensor, Facts, Config], Tensor]  # from loaded examples (N, ...) to a network's inputs
    read: Callable[[Path, Facts, Config], Tensor]  # from a file to inputs (n, ...); raises OSError or ValueError
    # of a network's inputs, by name of the axis, for axes whose positions stand for quantities
    scales: Callable[[Facts, Config], dict[str, Scale]] | None = None
    read_by: tuple[str, ...] = ()  # keys of the data config that decide how files of any dataset are loaded


# keys of `data` that apply to images only, with the values at which they change nothing
IMAGE_KEYS = {"channels": None, "resize": None, "crop": None, "trim": 0, "permute_pixels": False}


def refuse_image_keys(facts: Facts, config: Config) -> Facts:
    """Return the facts of examples that are not images unchanged.

    Raises:
        ValueError: a key of the data config is set that applies to images only.
    """
    for key, nothing in IMAGE_KEYS.items():
        if (value := config.get(key, nothing)) != nothing:
            raise ValueError(f"data.{key}={value} is for pictures, and data={config['name']} holds none")
    return facts


def as_loaded(inputs: Tensor, facts: Facts, config: Config) -> Tensor:
    """Return examples unchanged."""
    return inputs


def refuse_files(path: Path, facts: Facts, config: Config) -> Tensor:
    """Refuse to read files.

    Raises:
        ValueError: always.
    """
    raise ValueError(f"examples of data={config['name']} are in no files; give Run.predict a tensor")


# series, volumes and other arrays of a user's own source: channels and any number of axes
ARRAYS = Form("array", (), frozenset(), refuse_image_keys, as_loaded, refuse_files)


def as_floats(inputs: Tensor) -> Tensor:
    """Scale bytes to floats from 0 to 1, int16 samples to -1 to 1; return floats and word ids unchanged."""
    largest = {torch.uint8: 255, torch.int16: 32768}.get(inputs.dtype)
    return inputs if largest is None else inputs.float() / largest


def in_chunks(step: Callable[[Tensor], Tensor], inputs: Tensor, size: int) -> Tensor:
    """Apply a step to `size` examples at a time, so that the floats of a large set never fill memory."""
    if torch.compiler.is_exporting():  # an exported graph has no loop
        return step(inputs)
    return torch.cat([step(part) for part in inputs.split(size)])


def find_files(path: Path, suffixes: frozenset[str]) -> list[Path]:
    """Return the files in a folder and its subfolders that have one of the suffixes, sorted."""
    return sorted(p for p in path.rglob("*") if p.suffix.lower() in suffixes and p.is_file())
