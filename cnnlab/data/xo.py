"""Draw 9x9 images of X and O: the lectures' toy problem, exact or with its "trickier cases"."""

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
    """Draw images (count, 1, 9, 9) as bytes and labels (count,), alternating 0 for X and 1 for O.

    Args:
        count: number of images.
        stream: each number has images of its own.
        translation: largest shift in pixels, either way.
        scaling: largest change of size: an image is scaled by 1 ± this.
        rotation: largest angle in degrees, either way.
        weight: largest change of line width: a width is scaled by 1 ± this.
        seed: decides everything random.

    Without distortion these are the lectures' two images, pixel for pixel.
    """
    generator = torch.Generator().manual_seed(seed * 1_000_003 + stream)

    def spread(size: float) -> Tensor:
        return (torch.rand(count, 1, 1, generator=generator) * 2 - 1) * size

    dx, dy, zoom, turn, bold = map(spread, (translation, translation, scaling, rotation * pi / 180, weight))
    labels = torch.arange(count) % 2
    axis = torch.arange(SIZE) - (SIZE - 1) / 2
    y, x = axis.view(1, -1, 1) - dy, axis.view(1, 1, -1) - dx
    # coordinates in the undistorted image, so that distances are in its pixels
    u = (x * turn.cos() + y * turn.sin()) / (1 + zoom)
    v = (y * turn.cos() - x * turn.sin()) / (1 + zoom)
    # the nearest point of an X is on the diagonal of the same quadrant, not beyond the end of its arm
    along = ((u.abs() + v.abs()) / 2).clamp(max=ARM)
    to_x = torch.hypot(u.abs() - along, v.abs() - along)
    to_o = (torch.hypot(u, v) - ARM).abs()
    distance = torch.where(labels.view(-1, 1, 1) == 0, to_x, to_o) * (1 + zoom)
    ink = (((1 + bold) / 2 - distance) / EDGE + 0.5).clamp(0, 1)
    return (ink * 255).round().to(torch.uint8).unsqueeze(1), labels
