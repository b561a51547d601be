"""Distort batches of images by an amount, to test a network's robustness.

A distortion is a function of images (N, C, H, W), floats from 0 to 1, and an amount. To add one, add a function to
DISTORTIONS with the amounts to test; the first must leave images unchanged. Random numbers are the same at every call.
"""

from collections.abc import Callable, Sequence
from math import pi

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.transforms.v2 import functional as T

from cnnlab.trained.mnist_c import MNIST_C
from cnnlab.trained.pixels import smooth

Distort = Callable[[Tensor, float], Tensor]


def shift(images: Tensor, pixels: float) -> Tensor:
    """Shift by pixels to the right and down; the gap is black."""
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


def perspective(images: Tensor, share: float) -> Tensor:
    """Tilt the upper edge away: it shrinks by a share, and its corners move inward by half of that along both axes."""
    height, width = images.shape[2:]
    right, bottom, inward = width - 1, height - 1, share / 2
    corners = [[0, 0], [right, 0], [right, bottom], [0, bottom]]
    seen = [[inward * right, inward * bottom], [(1 - inward) * right, inward * bottom], *corners[2:]]
    tilted: Tensor = T.perspective(images, corners, seen, T.InterpolationMode.BILINEAR) if share else images
    return tilted


def elastic(images: Tensor, pixels: float) -> Tensor:
    """Displace pixels by a smooth random field of this standard deviation along each axis (Simard et al. 2003).

    The field is smoothed by a Gaussian of 4 pixels; Simard's own strength, a factor of 34, is 1.4 pixels.
    """
    generator = torch.Generator(images.device).manual_seed(0)
    height, width = images.shape[2:]
    margin = 16  # reach of the Gaussian
    canvas = (len(images), 2, height + 2 * margin, width + 2 * margin)
    field = smooth(torch.rand(canvas, generator=generator, device=images.device) * 2 - 1, 4)
    moved = field[..., margin:-margin, margin:-margin] * (pixels * 3**0.5 * 8 * pi**0.5)  # 1 / its standard deviation
    moved = moved * torch.tensor([2 / width, 2 / height], device=images.device).view(2, 1, 1)
    still = F.affine_grid(torch.eye(2, 3, device=images.device)[None], [1, 1, height, width], align_corners=False)
    return F.grid_sample(images, still + moved.permute(0, 2, 3, 1), align_corners=False) if pixels else images


def brightness(images: Tensor, added: float) -> Tensor:
    """Lighten or darken by a share of the full range."""
    return (images + added).clamp(0, 1)


def contrast(images: Tensor, factor: float) -> Tensor:
    """Multiply the distance to each image's mean by a factor."""
    mean = images.mean((1, 2, 3), keepdim=True)
    return ((images - mean) * factor + mean).clamp(0, 1)


def noise(images: Tensor, std: float) -> Tensor:
    """Add Gaussian noise of a standard deviation, the same for every network."""
    generator = torch.Generator(images.device).manual_seed(0)
    return (images + std * torch.randn(images.shape, generator=generator, device=images.device)).clamp(0, 1)


def blur(images: Tensor, sigma: float) -> Tensor:
    """Blur by a Gaussian, whose standard deviation is in pixels."""
    return T.gaussian_blur(images, 2 * int(3 * sigma + 0.5) + 1, sigma) if sigma else images


def line_weight(images: Tensor, steps: float) -> Tensor:
    """Thicken (above 0) or thin bright lines, by half a pixel per step on either side."""
    for _ in range(abs(int(steps))):
        bright = images if steps > 0 else -images
        grown = F.max_pool2d(F.pad(bright, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
        images = (images + (grown if steps > 0 else -grown)) / 2
    return images


DISTORTIONS: dict[str, tuple[Distort, Sequence[float]]] = {
    "shift": (shift, (0, 1, 2, 3, 4, 5, 6)),
    "rotation": (rotation, (0, 10, 20, 30, 40, 50, 60)),
    "scale": (scale, (1.0, 0.5, 0.6, 0.7, 0.8, 0.9, 1.1, 1.2, 1.3, 1.4)),
    "perspective": (perspective, (0, 0.1, 0.2, 0.3, 0.4, 0.5)),
    "elastic": (elastic, (0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0)),
    "brightness": (brightness, (0, -0.6, -0.4, -0.2, 0.2, 0.4, 0.6)),
    "contrast": (contrast, (1.0, 0.1, 0.2, 0.4, 0.7, 1.5, 2.0)),
    "noise": (noise, (0, 0.1, 0.2, 0.3, 0.4, 0.5)),
    "blur": (blur, (0, 0.5, 1.0, 1.5, 2.0, 2.5)),
    "line_weight": (line_weight, (0, -2, -1, 1, 2, 3, 4)),
    **{f"mnist_c/{name}": (corrupt, range(6)) for name, (corrupt, _) in MNIST_C.items()},
}
