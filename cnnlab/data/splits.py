"""Split training and validation examples, count them, and compute their mean and standard deviation."""

from dataclasses import replace

import torch
from torch import Tensor

from cnnlab.data.examples import Examples, Splits, in_memory
from cnnlab.data.forms import Config
from cnnlab.data.load import Remembered, facts, form, load
from cnnlab.data.places import places
from cnnlab.data.stream import Files

SAMPLE = 2048
FEWEST = 100  # validation examples, with an accuracy's standard error of up to 5 points; with fewer, chance decides
FEWEST_PER_CLASS = 5


def split(data: Examples | Files, config: Config, groups: Tensor | None = None) -> tuple[Examples | Files, Examples]:
    """Split into training and validation examples, as `places` chooses them."""
    train, val = places(len(data), config, groups)
    return data.part(train), in_memory(data.part(val))


def sample(data: Examples | Files) -> Tensor:
    """Return inputs (n, ...) that represent all: all in memory, or SAMPLE files, the same ones every time."""
    if isinstance(data, Examples):
        return data.inputs
    return data.part(torch.randperm(len(data), generator=torch.Generator().manual_seed(0))[:SAMPLE]).load()


@Remembered
def sizes(config: Config) -> tuple[int, int, int]:
    """Count the training, validation and test examples of a data config."""
    splits = load(config)
    count, tests = len(splits.train), len(splits.test) if splits.test else 0
    if splits.val:
        return count, len(splits.val), tests
    train, val = places(count, config, splits.groups)
    return len(train), len(val), tests


@Remembered
def training_counts(config: Config) -> list[int]:
    """Count the training examples of each class, in label order."""
    splits = load(config)
    labels = splits.train.labels
    if splits.val is None:
        labels = labels[places(len(labels), config, splits.groups)[0]]
    return counts(labels, len(splits.classes))


def counts(labels: Tensor, classes: int) -> list[int]:
    """Count how often each label from 0 to classes - 1 occurs."""
    found: list[int] = torch.bincount(labels, minlength=classes).tolist()
    return found


def few_validation_warning(images: int, classes: int) -> str | None:
    """Return a warning if there are so few validation examples that chance chooses the checkpoint, else None.

    An accuracy over N of them has a standard error of up to 50 / sqrt(N) points, by which epochs differ by chance.
    """
    if images >= (fewest := max(FEWEST, FEWEST_PER_CLASS * classes)):
        return None
    return (
        f"warning: {images} validation images choose the checkpoint, and their accuracy has a standard error of up to "
        f"{50 / images**0.5:.0f} points: chance decides; hold out at least {fewest} (data.val_size)"
    )


@Remembered
def has_validation(config: Config) -> bool:
    """Tell whether the data have validation examples of their own, so that none are split off."""
    return load(config).val is not None


@Remembered
def remark(config: Config) -> str | None:
    """Return the line to print before training on the data of a config, if there is one."""
    return load(config).remark


@Remembered
def prepared(config: Config) -> Splits:
    """Load the examples of a data config, split, as inputs of a network; drop the cached ones as loaded."""
    splits = load(config)
    load.forget()
    train, val = (splits.train, splits.val) if splits.val else split(splits.train, config, splits.groups)
    input_facts, to_input = facts(config), form(config).to_input
    return replace(splits, train=train, val=val).map(lambda inputs: to_input(inputs, input_facts, config))


def statistics(data: Examples | Files) -> tuple[list[float], list[float]]:
    """Compute mean and standard deviation per channel, bytes on the scale 0 to 1; a standard deviation of 0 becomes 1.

    Word ids have none: both lists are empty.
    """
    inputs = sample(data)
    if inputs.dtype == torch.int64:
        return [], []
    if inputs.dtype != torch.uint8:
        values = inputs.double().transpose(0, 1).flatten(1)
        return values.mean(1).tolist(), [s or 1.0 for s in values.std(1, correction=0).tolist()]
    # byte counts are exact for any number of images, float sums are not
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
