"""Training images and those held out, how many of each there are, and their mean and standard deviation."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from cnnlab.data.images import to_input
from cnnlab.data.load import Remembered, facts, load
from cnnlab.data.sources import Images, Splits
from cnnlab.data.stream import Files

SAMPLE = 2048


def split(data: Images | Files, config: Mapping[str, Any]) -> tuple[Images | Files, Images]:
    """Training and validation images: a permutation that `split_seed` alone decides; `val_size` images or a fraction.

    Raises:
        ValueError: a size that leaves nothing for one of them.
    """
    held_out = _held_out(len(data), config)
    order = torch.randperm(len(data), generator=torch.Generator().manual_seed(config["split_seed"]))
    return data.part(order[held_out:].sort().values), _in_memory(data.part(order[:held_out].sort().values))


def sample(data: Images | Files) -> Tensor:
    """Images (n, C, H, W) that stand for all: all of those in memory, SAMPLE of files, the same ones every time."""
    if isinstance(data, Images):
        return data.images
    return data.part(torch.randperm(len(data), generator=torch.Generator().manual_seed(0))[:SAMPLE]).load()


def _in_memory(data: Images | Files) -> Images:
    return data if isinstance(data, Images) else Images(data.load(), data.labels)


@Remembered
def sizes(config: Mapping[str, Any]) -> tuple[int, int, int]:
    """How many training, validation and test images a data config has."""
    splits = load(config)
    count, tests = len(splits.train), len(splits.test) if splits.test else 0
    if splits.val:
        return count, len(splits.val), tests
    held_out = _held_out(count, config)
    return count - held_out, held_out, tests


@Remembered
def has_validation(config: Mapping[str, Any]) -> bool:
    """Return whether the data have validation images of their own, so that none are split off."""
    return load(config).val is not None


@Remembered
def prepared(config: Mapping[str, Any]) -> Splits:
    """The images of a data config, split, as a network gets them; as loaded they are held no longer."""
    splits = load(config)
    load.forget()
    train, val = (splits.train, splits.val) if splits.val else split(splits.train, config)
    (_, *size), _ = facts(config)

    def sized(images: Tensor) -> Tensor:
        return to_input(images, (size[0], size[1]), config)

    return replace(splits, train=train, val=val).map(sized)


def _held_out(count: int, config: Mapping[str, Any]) -> int:
    size = config["val_size"]
    if not isinstance(size, (int, float)) or (isinstance(size, float) and size >= 1):
        raise ValueError(f"data.val_size is a whole number of images or a fraction below 1, not {size!r}")
    held_out = round(size * count) if size < 1 else int(size)
    if not 0 < held_out < count:
        raise ValueError(f"data.val_size={size} of {count} training images leaves none for training or validation")
    return held_out


def statistics(data: Images | Files) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of every channel, on the scale 0 to 1; a deviation of 0 counts as 1."""
    # byte counts are exact whatever the number of images, where float sums are not
    mean, std = [], []
    values = torch.arange(256, dtype=torch.float64) / 255
    images = sample(data)
    for channel in range(images.shape[1]):
        counts = torch.zeros(256, dtype=torch.float64)
        for part in images[:, channel].split(4096):
            counts += torch.bincount(part.flatten(), minlength=256)
        share = counts / counts.sum()
        m = float((share * values).sum())
        mean.append(m)
        std.append(float((share * (values - m) ** 2).sum().sqrt()) or 1.0)
    return mean, std
