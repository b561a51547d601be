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
FEWEST = 100  # validation images, below which what they choose is a lottery: a standard error of up to 5 points
FEWEST_PER_CLASS = 5


def split(data: Images | Files, config: Mapping[str, Any]) -> tuple[Images | Files, Images]:
    """Training and validation images: a permutation that `split_seed` alone decides; `val_size` images or a fraction.

    With `folds` the permutation is cut into so many parts, of which the one that `fold` numbers is for validation.

    Raises:
        ValueError: a size that leaves nothing for one of them.
    """
    train, val = _places(len(data), config)
    return data.part(train), _in_memory(data.part(val))


def _places(count: int, config: Mapping[str, Any]) -> tuple[Tensor, Tensor]:
    """Return the numbers, sorted, of the training and the validation images among so many."""
    held_out = _held_out(count, config)
    order = torch.randperm(count, generator=torch.Generator().manual_seed(config["split_seed"]))
    train = torch.cat([order[: held_out.start], order[held_out.stop :]])
    return train.sort().values, order[held_out.start : held_out.stop].sort().values


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
    held_out = len(_held_out(count, config))
    return count - held_out, held_out, tests


@Remembered
def training_counts(config: Mapping[str, Any]) -> list[int]:
    """How many training images each class has, in label order."""
    splits = load(config)
    labels = splits.train.labels
    if splits.val is None:
        labels = labels[_places(len(labels), config)[0]]
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
def prepared(config: Mapping[str, Any]) -> Splits:
    """The images of a data config, split, as a network gets them; as loaded they are held no longer."""
    splits = load(config)
    load.forget()
    train, val = (splits.train, splits.val) if splits.val else split(splits.train, config)
    (_, *size), _ = facts(config)
    if len(size) != 2:  # no pictures: as they are
        return replace(splits, train=train, val=val)

    def sized(images: Tensor) -> Tensor:
        return to_input(images, (size[0], size[1]), config)

    return replace(splits, train=train, val=val).map(sized)


def _held_out(count: int, config: Mapping[str, Any]) -> range:
    """Return the places, in the permutation of the images, of those held out."""
    folds, fold = config.get("folds"), config.get("fold")
    if folds is not None or fold is not None:
        if folds is None or fold is None or not 0 <= fold < folds:
            raise ValueError(f"data.folds={folds} and data.fold={fold}: data.fold is from 0 to data.folds less 1")
        if folds > count:
            raise ValueError(f"data.folds={folds}: there are {count} training images")
        return range(count * fold // folds, count * (fold + 1) // folds)
    size = config["val_size"]
    if not isinstance(size, (int, float)) or (isinstance(size, float) and size >= 1):
        raise ValueError(f"data.val_size is a whole number of images or a fraction below 1, not {size!r}")
    held_out = round(size * count) if size < 1 else int(size)
    if not 0 < held_out < count:
        raise ValueError(f"data.val_size={size} of {count} training images leaves none for training or validation")
    return range(held_out)


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
