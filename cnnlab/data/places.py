"""Choose the training examples that are held out for validation."""

import torch
from torch import Tensor

from cnnlab.data.forms import Config


def places(count: int, config: Config, groups: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Return the sorted indices of the training and of the validation examples among `count`.

    The data config has `val_size`, a number or a fraction, or the number `fold` of one of `folds`; both are parts of a
    permutation that `split_seed` alone decides. `groups` (N,), from 0 on, are equal for examples that are held out
    together or not at all; `val_size` is then of groups.

    Raises:
        ValueError: a size that leaves no training or no validation examples.
    """
    if groups is not None:
        held_out = torch.isin(groups, places(int(groups.max()) + 1, config)[1])
        return (~held_out).nonzero().flatten(), held_out.nonzero().flatten()
    part = _held_out(count, config)
    order = torch.randperm(count, generator=torch.Generator().manual_seed(config["split_seed"]))
    train = torch.cat([order[: part.start], order[part.stop :]])
    return train.sort().values, order[part.start : part.stop].sort().values


def _held_out(count: int, config: Config) -> range:
    """Return the positions, in the permutation of the examples, of those held out."""
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
