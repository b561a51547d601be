"""Corrupt batches of images by the fifteen corruptions of MNIST-C.

MNIST-C (Mu & Gilmer 2019, arXiv:1906.02337) is MNIST under fifteen corruptions, each at one severity, which its authors
chose from severities 1 to 5 (github.com/google-research/mnist-c, after Hendrycks & Dietterich 2019, arXiv:1903.12261).
All five are implemented here; stripe, dotted line, zigzag and canny edges, of which MNIST-C defines one severity, are
extended to five. Random numbers have MNIST-C's distributions, unless a docstring says otherwise, and are the same at
every call. Amounts in pixels are those of 28x28 images at any size; lines and stripes span images of any size.

A corruption is a function of images (N, C, H, W), floats from 0 to 1, a severity from 1 to 5, and a generator.
"""

from collections.abc import Callable
from functools import wraps
from itertools import pairwise
from math import pi
from typing import Any

import torch
from torch import Generator, Tensor

from cnnlab.trained.canny import canny
from cnnlab.trained.pixels import fetch, sign, smooth, swapped, uniform, warp

Corruption = Callable[[Tensor, int, Generator], Tensor]
MNIST_C: dict[str, tuple[Callable[[Tensor, float], Tensor], int]] = {}  # by name, with MNIST-C's own severity

MAPS = 64  # number of different clouds


def corruption(published: int) -> Callable[[Corruption], Corruption]:
    """Register a corruption, seeded, and without effect at severity 0; `published` is MNIST-C's own severity."""

    def register(corrupt: Corruption) -> Corruption:
        @wraps(corrupt)
        def graded(images: Tensor, severity: float) -> Tensor:
            generator = torch.Generator(images.device).manual_seed(0)
            return corrupt(images, int(severity), generator).clamp(0, 1) if severity else images

        first, *rest = (corrupt.__doc__ or "").splitlines()
        graded.__doc__ = "\n".join([f"{first.removesuffix('.')}; MNIST-C has severity {published}.", *rest])
        MNIST_C[corrupt.__name__] = graded, published
        return corrupt

    return register


@corruption(5)
def shot_noise(images: Tensor, severity: int, generator: Generator) -> Tensor:
    """Count photons: draw each value from a Poisson distribution, whose mean at white is 60, 25, 12, 5 or 3."""
    photons = (60, 25, 12, 5, 3)[severity - 1]
    return torch.poisson(images * photons, generator) / photons


@corruption(4)
def impulse_noise(images: Tensor, severity: int, generator: Generator) -> Tensor:
    """Make a share of the values, 3, 6, 9, 17 or 27 %, black or white."""
    share = (0.03, 0.06, 0.09, 0.17, 0.27)[severity - 1]
    draws = torch.rand(images.shape, generator=generator, device=images.device) / share
    return torch.where(draws < 0.5, 0.0, torch.where(draws < 1, 1.0, images))


@corruption(1)
def glass_blur(images: Tensor, severity: int, generator: Generator) -> Tensor:
    """Blur, swap half of the pixels with others nearby, and blur again, as frosted glass does."""
    sigma, reach, times = ((0.7, 1, 2), (0.9, 2, 1), (1.0, 2, 3), (1.1, 3, 2), (1.5, 4, 2))[severity - 1]
    images = smooth(images, sigma)
    for _ in range(times):
        images = swapped(images, reach, generator)
    return smooth(images, sigma)


@corruption(1)
def motion_blur(images: Tensor, severity: int, generator: Generator) -> Tensor:
    """Blur along a direction of -45 to 45 degrees, to one side, as ImageMagick does."""
    radius, sigma = ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15))[severity - 1]
    angle = uniform(images, generator, -pi / 4, pi / 4)
    weights = torch.exp(-((torch.arange(2 * radius + 1) / sigma) ** 2) / 2)
    blurred = torch.zeros_like(images)
    for step, weight in enumerate((weights / weights.sum()).tolist()):
        down, right = ((step * part - 0.5).ceil() for part in (angle.sin(), angle.cos()))
        blurred += weight * fetch(images, down, right)
    return blurred


@corruption(2)
def shear(images: Tensor, severity: int, generator: Generator) -> Tensor:
    """Lean by 0.2, 0.4, 0.6, 0.8 or 1 radians to the left or right."""
    angle = 0.2 * severity * sign(images, generator)
    none, one = torch.zeros_like(angle), torch.ones_like(angle)
    return warp(images, (one, -angle.sin(), none), (none, angle.cos(), none))


@corruption(3)
def scale(images: Tensor, severity: int, generator: Generator) -> Tensor:
    """Scale about the centre by 0.9, 0.8, 0.7, 0.6 or 0.5."""
    none = images.new_zeros(1, 1, 1, 1)
    size = none + 1 / (1 - severity / 10)
    return warp(images, (size, none, none), (none, size, none))


@corruption(2)
def rotate(images: Tensor, severity: int, generator: Generator) -> Tensor:
    """Rotate by 0.2, 0.4, 0.6, 0.8 or 1 radians, either way."""
    angle = 0.2 * severity * sign(images, generator)
    none = torch.zeros_like(angle)
    return warp(images, (angle.cos(), -angle.sin(), none), (angle.sin(), angle.cos(), none))


@corruption(5)
def brightness(images: Tensor, severity: int, generator: Generator) -> Tensor:
    """Add 0.1, 0.2, 0.3, 0.4 or 0.5 to the brightest channel, and scale the others with it."""
    value = images.amax(1, keepdim=True)
    brighter = (value + severity / 10).clamp(max=1)
    return torch.where(value > 0, images * brighter / value.clamp(min=1e-6), brighter)


@corruption(3)
def translate(images: Tensor, severity: int, generator: Generator) -> Tensor:
    """Shift by 1, 2, 3, 4 or 5 pixels along both axes, either way; the gap is black."""
    none = images.new_zeros(len(images), 1, 1, 1)
    right, down = (severity * sign(images, generator) for _ in range(2))
    return warp(images, (none + 1, none, right), (none, none + 1, down))


@corruption(4)
def stripe(images: Tensor, severity: int, generator: Generator) -> Tensor:
    """Invert a stripe at the left and one at the right, each 1, 2, 3, 4 or 5 sixteenths of the image's width."""
    width = images.shape[3]
    wide = round(width * severity / 16)
    at = torch.arange(width, device=images.device)
    return torch.where((at < wide) | (at >= width - wide), 1 - images, images)


@corruption(5)
def fog(images: Tensor, severity: int, generator: Generator) -> Tensor:
    """Lay a cloud over the image, made by the diamond-square algorithm.

    MNIST-C takes the corner of a new 256x256 cloud for each image; here each has a random part of one of 64 clouds.
    """
    strength, decay = ((1.5, 2.0), (2.0, 2.0), (2.5, 1.7), (2.5, 1.5), (3.0, 1.4))[severity - 1]
    height, width = images.shape[2:]
    side = 1 << (max(256, height, width) - 1).bit_length()
    clouds = plasma(side, decay, images.device, generator)
    which = torch.arange(len(images), device=images.device).view(-1, 1, 1) % MAPS
    top, left = ((uniform(images, generator, 0, clouds.shape[1])[:, 0]).long() for _ in range(2))
    rows = (top + torch.arange(height, device=images.device).view(-1, 1)) % clouds.shape[1]
    columns = (left + torch.arange(width, device=images.device)) % clouds.shape[1]
    brightest = images.amax((1, 2, 3), keepdim=True)
    return (images + strength * clouds[which, rows, columns].unsqueeze(1)) * brightest / (brightest + strength)


def plasma(side: int, decay: float, device: torch.device, generator: Generator) -> Tensor:
    """Generate clouds (MAPS, side, side), from 0 to 1, that are periodic in both axes (Fournier et al. 1982).

    `side` is a power of two; random steps shrink by the square of `decay` from one scale to the next.
    """
    cloud = torch.zeros(MAPS, side, side, device=device)
    step, size = side, 100.0

    def between(total: Tensor) -> Tensor:
        return total / 4 + size * size * (2 * torch.rand(total.shape, generator=generator, device=device) - 1)

    while step >= 2:
        half = step // 2
        corners = cloud[:, ::step, ::step]
        pairs = corners + corners.roll(-1, 1)
        cloud[:, half::step, half::step] = between(pairs + pairs.roll(-1, 2))
        middles = cloud[:, half::step, half::step]
        above, beside = middles + middles.roll(1, 1), middles + middles.roll(1, 2)
        cloud[:, ::step, half::step] = between(above + corners + corners.roll(-1, 2))
        cloud[:, half::step, ::step] = between(beside + corners + corners.roll(-1, 1))
        step, size = half, size / decay
    cloud -= cloud.amin((1, 2), keepdim=True)
    return cloud / cloud.amax((1, 2), keepdim=True)


@corruption(4)
def spatter(images: Tensor, severity: int, generator: Generator) -> Tensor:
    """Cover the image with grey drops, large and few or small and many."""
    level, spread, drop, limit, edge = (
        (0.65, 0.3, 4, 0.69, 0.6), (0.65, 0.3, 3, 0.68, 0.6), (0.65, 0.3, 2, 0.68, 0.5), (0.65, 0.3, 1, 0.65, 1.5),
        (0.67, 0.4, 1, 0.65, 1.5),
    )[severity - 1]  # fmt: skip
    white = torch.randn((len(images), 1, *images.shape[2:]), generator=generator, device=images.device)
    mud = smooth((smooth(level + spread * white, drop) > limit).float(), edge)
    mud = torch.where(mud < 0.8, 0.0, mud)
    return images * (1 - mud) + mud * 63 / 255


@corruption(1)
def dotted_line(images: Tensor, severity: int, generator: Generator) -> Tensor:
    """Draw 1, 2, 3, 4 or 5 dotted lines from the left edge to the right edge."""
    height, width = images.shape[2:]
    dots = (torch.arange(width, device=images.device) % 4) // 2
    for _ in range(severity):
        ends = [(uniform(images, generator, 0, height - 1)).floor() for _ in range(2)]
        line = stroke(images, (torch.zeros_like(ends[0]), ends[0]), (torch.full_like(ends[0], width - 1), ends[1]))
        images = (images + line * dots).clamp(max=1)
    return images


@corruption(1)
def zigzag(images: Tensor, severity: int, generator: Generator) -> Tensor:
    """Draw 1, 2, 3, 4 or 5 zigzags from left to right, with teeth 4 pixels wide and 2 pixels to either side."""
    height, width = images.shape[2:]
    long = max(width - 5, 1)
    count = (long - 2) // 4 + 1
    teeth, side = [(2 + 4 * i, 2 * (-1) ** i) for i in range(count)], 2 * (-1) ** (count - 1)
    for _ in range(severity):
        start = uniform(images, generator, 0, height - 1).floor()
        slope = uniform(images, generator, -5, 5).floor() / long
        length = torch.hypot(torch.ones_like(slope), slope)  # of the zigzag's axis, per column
        ends: list[tuple[Any, Any]] = [(0, 0), *teeth, (long * length, side / 6)]
        turned = [(2 + (a - slope * b) / length, start + (slope * a + b) / length) for a, b in ends]
        for one, other in pairwise(turned):
            images = (images + stroke(images, one, other)).clamp(max=1)
    return images


def stroke(images: Tensor, start: tuple[Tensor, Tensor], end: tuple[Tensor, Tensor]) -> Tensor:
    """Return a line on black, (N, 1, H, W), of the size of `images`, that fades out above and below.

    `start` and `end` are column and row, (N, 1, 1, 1) each, in pixels from the upper left pixel.
    """
    height, width = images.shape[2:]
    rows, columns = torch.arange(height, device=images.device).view(-1, 1), torch.arange(width, device=images.device)
    slope = (end[1] - start[1]) / (end[0] - start[0])
    distance = (rows - (slope * (columns - start[0]) + start[1])).abs()
    inside = (columns >= start[0].floor()) & (columns < end[0].ceil())
    return (torch.log((1 - distance / 2.3).clamp(min=1e-12)) + 1).clamp(0, 1) * inside


@corruption(5)
def canny_edges(images: Tensor, severity: int, generator: Generator) -> Tensor:
    """Leave nothing but the edges; at severities 1 to 4 they are mixed with the image by fifths.

    MNIST-C has no severities here. Images of several channels get the edges of their mean.
    """
    return images.lerp(canny(images.mean(1, keepdim=True)).expand_as(images), severity / 5)
