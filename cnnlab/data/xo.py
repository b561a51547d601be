"""Seeded images of X and O, 9x9: the lectures' toy problem, exact or with its "trickier cases"."""

from math import pi

import torch
from torch import Tensor

SIZE = 9
ARM = 3.0  # pixels from the centre to the end of an arm, and the radius of the O
EDGE = 0.2  # pixels over which a line fades; so small that without distortion every pixel is black or white


def draw(
    count: int,
    stream: int = 0,
    *,
    translation: float = 0.0,
    scaling: float = 0.0,
    rotation: float = 0.0,
    weight: float = 0.0,
    seed: int = 0,
) -> tuple[Tensor, Tensor]:
    """Images (count, 1, 9, 9) as bytes and labels (count,), 0 for X and 1 for O in turn.

    Args:
        count: how many.
        stream: another stream holds other images of the same kind; there is no end of them.
        translation: at most so many pixels, each way.
        scaling: size times 1 ± this.
        rotation: at most so many degrees, each way.
        weight: line width times 1 ± this.
        seed: of everything random.

    Without distortion these are the lectures' two images, pixel for pixel.
    """
    generator = torch.Generator().manual_seed(seed * 1_000_003 + stream)

    def spread(size: float) -> Tensor:
        return (torch.rand(count, 1, 1, generator=generator) * 2 - 1) * size

    dx, dy, zoom, turn, bold = map(spread, (translation, translation, scaling, rotation * pi / 180, weight))
    labels = torch.arange(count) % 2
    axis = torch.arange(SIZE) - (SIZE - 1) / 2
    y, x = axis.view(1, -1, 1) - dy, axis.view(1, 1, -1) - dx
    # the drawing's own coordinates, so that its distances are in pixels of the undistorted image
    u = (x * turn.cos() + y * turn.sin()) / (1 + zoom)
    v = (y * turn.cos() - x * turn.sin()) / (1 + zoom)
    # the nearest point of an X is on the diagonal of the same quadrant, not beyond the end of its arm
    along = ((u.abs() + v.abs()) / 2).clamp(max=ARM)
    to_x = torch.hypot(u.abs() - along, v.abs() - along)
    to_o = (torch.hypot(u, v) - ARM).abs()
    distance = torch.where(labels.view(-1, 1, 1) == 0, to_x, to_o) * (1 + zoom)
    ink = (((1 + bold) / 2 - distance) / EDGE + 0.5).clamp(0, 1)
    return (ink * 255).round().to(torch.uint8).unsqueeze(1), labels
