"""Training examples and those held out, how many of each there are, and their mean and standard deviation."""

from dataclasses import replace

import torch
from torch import Tensor

from cnnlab.data.examples import Examples, Splits, in_memory
from cnnlab.data.forms import Config
from cnnlab.data.load import Remembered, facts, form, load
from cnnlab.data.places import places
from cnnlab.data.stream import Files

SAMPLE = 2048
FEWEST = 100  # validation examples, below which what they choose is a lottery: a standard error of up to 5 points
FEWEST_PER_CLASS = 5


def split(data: Examples | Files, config: Config, groups: Tensor | None = None) -> tuple[Examples | Files, Examples]:
    """Split into training and validation examples, as `places` chooses them."""
    train, val = places(len(data), config, groups)
    return data.part(train), in_memory(data.part(val))


def sample(data: Examples | Files) -> Tensor:
    """Inputs (n, ...) that stand for all: all of those in memory, SAMPLE of files, the same ones every time."""
    if isinstance(data, Examples):
        return data.inputs
    return data.part(torch.randperm(len(data), generator=torch.Generator().manual_seed(0))[:SAMPLE]).load()


@Remembered
def sizes(config: Config) -> tuple[int, int, int]:
    """How many training, validation and test examples a data config has."""
    splits = load(config)
    count, tests = len(splits.train), len(splits.test) if splits.test else 0
    if splits.val:
        return count, len(splits.val), tests
    train, val = places(count, config, splits.groups)
    return len(train), len(val), tests


@Remembered
def training_counts(config: Config) -> list[int]:
    """How many training examples each class has, in label order."""
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
    """Warn in one line of so few validation examples that chance chooses the checkpoint; None where there are more.

    An accuracy over N of them has a standard error of at most 50 / sqrt(N) points, about which epochs differ by chance.
    """
    if images >= (fewest := max(FEWEST, FEWEST_PER_CLASS * classes)):
        return None
    return (
        f"warning: {images} validation images choose the checkpoint, and their accuracy has a standard error of up to "
        f"{50 / images**0.5:.0f} points: chance decides; hold out at least {fewest} (data.val_size)"
    )


@Remembered
def has_validation(config: Config) -> bool:
    """Return whether the data have validation examples of their own, so that none are split off."""
    return load(config).val is not None


@Remembered
def remark(config: Config) -> str | None:
    """Return a line to print before a training on the data of a config, if there is one."""
    return load(config).remark


@Remembered
def prepared(config: Config) -> Splits:
    """The examples of a data config, split, as a network gets them; as loaded they are held no longer."""
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
    # byte counts are exact whatever the number of pictures, where float sums are not
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
