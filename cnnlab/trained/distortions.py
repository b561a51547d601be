"""Distortions of whole batches of images, each by an amount: what a network is asked to bear.

A distortion is a function of images (N, C, H, W), floats from 0 to 1, and an amount. To add one, add a function to
DISTORTIONS with the amounts it is tried at; the first is none at all.
"""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.transforms.v2 import functional as T

Distort = Callable[[Tensor, float], Tensor]


def shift(images: Tensor, pixels: float) -> Tensor:
    """Shift by pixels to the right and down; black comes in."""
    shifted: Tensor = T.affine(images, 0.0, [pixels, pixels], 1.0, [0.0], T.InterpolationMode.BILINEAR)
    return shifted


def rotation(images: Tensor, degrees: float) -> Tensor:
    """Rotate by degrees, counter-clockwise."""
    rotated: Tensor = T.rotate(images, degrees, T.InterpolationMode.BILINEAR)
    return rotated


def scale(images: Tensor, factor: float) -> Tensor:
    """Scale by a factor about the centre."""
    scaled: Tensor = T.affine(images, 0.0, [0, 0], factor, [0.0], T.InterpolationMode.BILINEAR)
    return scaled


def brightness(images: Tensor, added: float) -> Tensor:
    """Lighten or darken by a share of the full range."""
    return (images + added).clamp(0, 1)


def contrast(images: Tensor, factor: float) -> Tensor:
    """Multiply the distance to each image's mean by a factor."""
    mean = images.mean((1, 2, 3), keepdim=True)
    return ((images - mean) * factor + mean).clamp(0, 1)


def noise(images: Tensor, deviation: float) -> Tensor:
    """Add Gaussian noise of a standard deviation, the same for every network."""
    generator = torch.Generator(images.device).manual_seed(0)
    return (images + deviation * torch.randn(images.shape, generator=generator, device=images.device)).clamp(0, 1)


def blur(images: Tensor, sigma: float) -> Tensor:
    """Blur by a Gaussian; its standard deviation in pixels."""
    return T.gaussian_blur(images, 2 * int(3 * sigma + 0.5) + 1, sigma) if sigma else images


def line_weight(images: Tensor, steps: float) -> Tensor:
    """Thicken (above 0) or thin bright lines, by half a pixel a step on either side."""
    for _ in range(abs(int(steps))):
        bright = images if steps > 0 else -images
        grown = F.max_pool2d(F.pad(bright, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
        images = (images + (grown if steps > 0 else -grown)) / 2
    return images


DISTORTIONS: dict[str, tuple[Distort, Sequence[float]]] = {
    "shift": (shift, (0, 1, 2, 3, 4, 5, 6)),
    "rotation": (rotation, (0, 10, 20, 30, 40, 50, 60)),
    "scale": (scale, (1.0, 0.5, 0.6, 0.7, 0.8, 0.9, 1.1, 1.2, 1.3, 1.4)),
    "brightness": (brightness, (0, -0.6, -0.4, -0.2, 0.2, 0.4, 0.6)),
    "contrast": (contrast, (1.0, 0.1, 0.2, 0.4, 0.7, 1.5, 2.0)),
    "noise": (noise, (0, 0.1, 0.2, 0.3, 0.4, 0.5)),
    "blur": (blur, (0, 0.5, 1.0, 1.5, 2.0, 2.5)),
    "line_weight": (line_weight, (0, -2, -1, 1, 2, 3, 4)),
}
