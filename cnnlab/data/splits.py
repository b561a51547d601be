"""Training images and those held out, how many of each there are, and their mean and standard deviation."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from cnnlab.data.examples import Examples, Splits
from cnnlab.data.load import Remembered, facts, form, load
from cnnlab.data.places import places
from cnnlab.data.stream import Files

SAMPLE = 2048
FEWEST = 100  # validation images, below which what they choose is a lottery: a standard error of up to 5 points
FEWEST_PER_CLASS = 5


def split(
    data: Examples | Files, config: Mapping[str, Any], groups: Tensor | None = None
) -> tuple[Examples | Files, Examples]:
    """Training and validation images: a permutation that `split_seed` alone decides; `val_size` images or a fraction.

    With `folds` the permutation is cut into so many parts, of which the one that `fold` numbers is for validation.
    Images of the same of the `groups` (N,), if there are any, stay together.

    Raises:
        ValueError: a size that leaves nothing for one of them.
    """
    train, val = places(len(data), config, groups)
    return data.part(train), _in_memory(data.part(val))


def sample(data: Examples | Files) -> Tensor:
    """Images (n, C, H, W) that stand for all: all of those in memory, SAMPLE of files, the same ones every time."""
    if isinstance(data, Examples):
        return data.inputs
    return data.part(torch.randperm(len(data), generator=torch.Generator().manual_seed(0))[:SAMPLE]).load()


def _in_memory(data: Examples | Files) -> Examples:
    return data if isinstance(data, Examples) else Examples(data.load(), data.labels)


@Remembered
def sizes(config: Mapping[str, Any]) -> tuple[int, int, int]:
    """How many training, validation and test images a data config has."""
    splits = load(config)
    count, tests = len(splits.train), len(splits.test) if splits.test else 0
    if splits.val:
        return count, len(splits.val), tests
    train, val = places(count, config, splits.groups)
    return len(train), len(val), tests


@Remembered
def training_counts(config: Mapping[str, Any]) -> list[int]:
    """How many training images each class has, in label order."""
    splits = load(config)
    labels = splits.train.labels
    if splits.val is None:
        labels = labels[places(len(labels), config, splits.groups)[0]]
    return counts(labels, len(splits.classes))


def counts(labels: Tensor, classes: int) -> list[int]:
    """How often each of so many labels occurs, in order."""
    found: list[int] = torch.bincount(labels, minlength=classes).tolist()
    return found


def lottery(images: int, classes: int) -> str | None:
    """Warn in one line where so few validation images choose the checkpoint that chance does; None where they are more.

    An accuracy over N images has a standard error of at most 50 / sqrt(N) points, about which epochs differ by chance.
    """
    if images >= (fewest := max(FEWEST, FEWEST_PER_CLASS * classes)):
        return None
    return (
        f"warning: {images} validation images choose the checkpoint, and their accuracy has a standard error of up to "
        f"{50 / images**0.5:.0f} points: chance decides; hold out at least {fewest} (data.val_size)"
    )


@Remembered
def has_validation(config: Mapping[str, Any]) -> bool:
    """Return whether the data have validation images of their own, so that none are split off."""
    return load(config).val is not None


@Remembered
def remark(config: Mapping[str, Any]) -> str | None:
    """Return what has to be said of the data of a config before they are trained on, in one line."""
    return load(config).remark


@Remembered
def prepared(config: Mapping[str, Any]) -> Splits:
    """The images of a data config, split, as a network gets them; as loaded they are held no longer."""
    splits = load(config)
    load.forget()
    train, val = (splits.train, splits.val) if splits.val else split(splits.train, config, splits.groups)
    its, to_input = facts(config), form(config).to_input
    return replace(splits, train=train, val=val).map(lambda inputs: to_input(inputs, its, config))


def statistics(data: Examples | Files) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of every channel, bytes on the scale 0 to 1; a deviation of 0 counts as 1.

    Ids of words have none.
    """
    inputs = sample(data)
    if inputs.dtype == torch.int64:
        return [], []
    if inputs.dtype != torch.uint8:
        values = inputs.double().transpose(0, 1).flatten(1)
        return values.mean(1).tolist(), [s or 1.0 for s in values.std(1, correction=0).tolist()]
    # byte counts are exact whatever the number of images, where float sums are not
    mean, std = [], []
    values = torch.arange(256, dtype=torch.float64) / 255
    for channel in range(inputs.shape[1]):
        counts = torch.zeros(256, dtype=torch.float64)
        for part in inputs[:, channel].split(4096):
            counts += torch.bincount(part.flatten(), minlength=256)
        share = counts / counts.sum()
        m = float((share * values).sum())
        mean.append(m)
        std.append(float((share * (values - m) ** 2).sum().sqrt()) or 1.0)
    return mean, std
