"""Augment spectrograms (N, C, frequency, time): shift them in time, mask times and frequencies."""

import torch
from torch import Generator, Tensor


def shift_time(images: Tensor, generator: Generator, most: int = 8) -> Tensor:
    """Shift each sound in time at random; the edges are filled with silence.

    Args:
        most: largest shift in columns, either way.
    """
    width = images.shape[3]
    if not 0 <= most < width:
        raise ValueError(f"augment.shift_time.most must be from 0 to {width - 1}, not {most}")
    shift = torch.randint(-most, most + 1, (len(images), 1), generator=generator, device=images.device)
    source = torch.arange(width, device=images.device) - shift
    moved = images.gather(3, source.clamp(0, width - 1)[:, None, None].expand(images.shape))
    return moved.masked_fill(((source < 0) | (source >= width))[:, None, None], 0)


def mask_time(images: Tensor, generator: Generator, most: int = 8, masks: int = 1) -> Tensor:
    """Silence stretches of time (SpecAugment, Park et al. 2019).

    Args:
        most: largest width of a stretch in columns; each width is drawn from 0 to this.
        masks: number of stretches.
    """
    return _masked(images, generator, most, masks, 3, "mask_time")


def mask_frequency(images: Tensor, generator: Generator, most: int = 4, masks: int = 1) -> Tensor:
    """Silence bands of frequency (SpecAugment, Park et al. 2019).

    Args:
        most: largest width of a band in rows; each width is drawn from 0 to this.
        masks: number of bands.
    """
    return _masked(images, generator, most, masks, 2, "mask_frequency")


def _masked(images: Tensor, generator: Generator, most: int, masks: int, axis: int, name: str) -> Tensor:
    """Set `masks` random stretches of an axis to 0 in each image."""
    size = images.shape[axis]
    if not 0 <= most <= size:
        raise ValueError(f"augment.{name}.most must be from 0 to {size}, not {most}")
    if masks < 1:
        raise ValueError(f"augment.{name}.masks must be at least 1, not {masks}")
    view = [len(images), 1, 1, 1]
    view[axis] = size
    position = torch.arange(size, device=images.device)
    for _ in range(masks):
        chance = torch.rand(2, len(images), 1, generator=generator, device=images.device)
        width = (chance[0] * (most + 1)).long()
        start = (chance[1] * (size - width + 1)).long()
        images = images.masked_fill(((position >= start) & (position < start + width)).view(view), 0)
    return images
