"""Augment whole batches, bytes in and bytes out, on the device that they are on.

An augmentation is a function of images (N, C, H, W), a generator, and its options; `conf/augment/*.yaml` lists which
run, in order. To add one, add a function to AUGMENTATIONS.

Test images are not augmented; `views` makes the copies of them over which a prediction may be averaged.
"""

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from math import pi
from typing import Any

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from cnnlab.data.augment_sound import mask_frequency, mask_time, shift_time
from cnnlab.registry import check_options, pick


def flip(images: Tensor, generator: Generator, alternate: bool = False, turn: Tensor | None = None) -> Tensor:
    """Mirror each image left to right with probability 1/2.

    Args:
        alternate: mirror each image in every other epoch instead, so that two epochs have it both ways (Jordan 2024,
            "94% on CIFAR-10 in 3.29 seconds").
        turn: (N,), the epoch plus a random 0 or 1 of each image.
    """
    chosen = turn % 2 == 0 if alternate and turn is not None else _uniform(images, generator) < 0.5
    return torch.where(chosen.view(-1, 1, 1, 1), images.flip(-1), images)


def crop(images: Tensor, generator: Generator, pad: int = 4) -> Tensor:
    """Shift each image at random along both axes; the edges are filled by reflection.

    Args:
        pad: largest shift in pixels.
    """
    if not 0 <= pad < min(images.shape[2:]):
        raise ValueError(f"augment.crop.pad must be from 0 to {min(images.shape[2:]) - 1}, not {pad}")
    for axis in (2, 3):
        size = images.shape[axis]
        shift = torch.randint(-pad, pad + 1, (len(images), 1), generator=generator, device=images.device)
        index = _reflected(torch.arange(size, device=images.device) + shift, size)
        view = [len(images), 1, 1, 1]
        view[axis] = size
        images = images.gather(axis, index.view(view).expand(images.shape))
    return images


def cutout(images: Tensor, generator: Generator, size: int = 8) -> Tensor:
    """Blacken a square at a random position, which may lie partly outside (DeVries & Taylor 2017).

    Args:
        size: height and width of the square in pixels.
    """
    if size < 1:
        raise ValueError(f"augment.cutout.size must be at least 1, not {size}")
    inside = torch.ones(len(images), 1, 1, 1, dtype=torch.bool, device=images.device)
    for axis in (2, 3):
        length = images.shape[axis]
        start = torch.randint(1 - size, length, (len(images), 1), generator=generator, device=images.device)
        at = torch.arange(length, device=images.device) - start
        view = [len(images), 1, 1, 1]
        view[axis] = length
        inside = inside & ((at >= 0) & (at < size)).view(view)
    return images.masked_fill(inside, 0)


def affine(
    images: Tensor, generator: Generator, rotation: float = 10.0, translation: float = 2.0, scaling: float = 0.1
) -> Tensor:
    """Rotate, shift and scale each image by random amounts; the edges are filled with black.

    Args:
        rotation: largest angle in degrees, either way.
        translation: largest shift in pixels along each axis, either way.
        scaling: largest change of size: an image is scaled by 1 ± this.
    """
    if not 0 <= scaling < 1:
        raise ValueError(f"augment.affine.scaling must be at least 0 and below 1, not {scaling}")
    count, _, height, width = images.shape
    turn, zoom, dx, dy = (
        (_uniform(images, generator) * 2 - 1) * size
        for size in (rotation * pi / 180, scaling, 2 * translation / width, 2 * translation / height)
    )
    cos, sin = turn.cos() / (1 + zoom), turn.sin() / (1 + zoom)
    rows = torch.stack([cos, -sin * height / width, dx, sin * width / height, cos, dy], 1).view(count, 2, 3)
    grid = F.affine_grid(rows, list(images.shape), align_corners=False)
    return F.grid_sample(images.float(), grid, align_corners=False).round_().to(torch.uint8)


def views(images: Tensor, flip: bool = False, shift: int = 0) -> list[Tensor]:
    """Return the views of test images (N, C, H, W) over which a prediction is averaged.

    Args:
        images: the first view, unchanged.
        flip: add the mirror image of each view.
        shift: add two views shifted by so many pixels, up and left, down and right, reflected at the edges.

    Raises:
        ValueError: a shift by more than the image, or examples that are not images.
    """
    if not flip and not shift:
        return [images]
    if images.ndim != 4:
        raise ValueError("test_flip and test_shift move and mirror pictures, which these examples are not")
    if not 0 <= shift < min(images.shape[2:]):
        raise ValueError(f"test_shift must be from 0 to {min(images.shape[2:]) - 1}, not {shift}")
    shifted = [images, _moved(images, shift), _moved(images, -shift)] if shift else [images]
    return shifted + [view.flip(-1) for view in shifted if flip]


def _moved(images: Tensor, pixels: int) -> Tensor:
    for axis in (2, 3):
        size = images.shape[axis]
        index = torch.arange(size, device=images.device) + pixels
        images = images.index_select(axis, _reflected(index, size))
    return images


def _reflected(index: Tensor, size: int) -> Tensor:
    """Mirror indices beyond the edges back into 0 to size - 1."""
    return (size - 1) - ((size - 1) - index.abs()).abs()


def _uniform(images: Tensor, generator: Generator) -> Tensor:
    return torch.rand(len(images), generator=generator, device=images.device)


AUGMENTATIONS: dict[str, Callable[..., Tensor]] = {
    "affine": affine,
    "crop": crop,
    "cutout": cutout,
    "flip": flip,
    "mask_frequency": mask_frequency,
    "mask_time": mask_time,
    "shift_time": shift_time,
}


def augmentation(config: Mapping[str, Mapping[str, Any] | None]) -> Callable[..., Tensor] | None:
    """Compose the augmentations that a config lists, in its order; None where it lists none.

    Raises:
        ValueError: an unknown augmentation or option.
    """
    steps = []
    for name, options in config.items():
        if options is None:  # augment.cutout=null
            continue
        function = pick(AUGMENTATIONS, name, "augmentation")
        known = {p.name: p.default for p in list(inspect.signature(function).parameters.values())[2:]}
        takes_turn = known.pop("turn", ...) is None
        check_options(f"augment.{name}", options, known)
        steps.append((partial(function, **options), takes_turn))
    if not steps:
        return None

    def run(images: Tensor, generator: Generator, turn: Tensor | None = None) -> Tensor:
        for step, takes_turn in steps:
            images = step(images, generator, turn=turn) if takes_turn else step(images, generator)
        return images

    return run
