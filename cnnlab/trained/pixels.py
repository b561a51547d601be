"""Move and smooth batches of images (N, C, H, W), each image by its own amounts."""

import torch
import torch.nn.functional as F
from torch import Generator, Tensor


def uniform(images: Tensor, generator: Generator, low: float = 0.0, high: float = 1.0) -> Tensor:
    """Draw one number for each image, (N, 1, 1, 1)."""
    values = torch.rand(len(images), 1, 1, 1, generator=generator, device=images.device)
    return low + (high - low) * values


def sign(images: Tensor, generator: Generator) -> Tensor:
    """Draw -1 or 1 for each image, (N, 1, 1, 1)."""
    return (uniform(images, generator) < 0.5) * 2.0 - 1


def smooth(images: Tensor, sigma: float) -> Tensor:
    """Blur by a Gaussian, `sigma` in pixels, truncated at 4 sigma; edge pixels are repeated outwards."""
    radius = int(4 * sigma + 0.5)
    kernel = torch.exp(-((torch.arange(-radius, radius + 1, device=images.device) / sigma) ** 2) / 2)
    kernel = (kernel / kernel.sum()).view(1, 1, -1, 1)
    maps = images.flatten(0, 1).unsqueeze(1)
    maps = F.conv2d(F.pad(maps, (0, 0, radius, radius), mode="replicate"), kernel)
    maps = F.conv2d(F.pad(maps, (radius, radius, 0, 0), mode="replicate"), kernel.transpose(2, 3))
    return maps.view_as(images)


def fetch(images: Tensor, down: Tensor, right: Tensor) -> Tensor:
    """Replace each pixel by the one that lies `down` and `right` pixels further on; edge pixels are repeated.

    Both hold whole numbers and broadcast to (N, 1, H, W).
    """
    height, width = images.shape[2:]
    rows = (torch.arange(height, device=images.device).view(-1, 1) + down.long()).clamp(0, height - 1)
    columns = (torch.arange(width, device=images.device) + right.long()).clamp(0, width - 1)
    index = (rows * width + columns).expand(len(images), 1, height, width)
    return images.flatten(2).gather(2, index.flatten(2).expand(-1, images.shape[1], -1)).view_as(images)


def swapped(images: Tensor, reach: int, generator: Generator) -> Tensor:
    """Swap a random half of the pixels with one nearby each, in sequence from the lower right to the upper left.

    The other pixel lies up to `reach` pixels up or left, or one less down or right. Pixels closer to the edges than
    that start no swap. Swaps that cannot affect each other are done at once.
    """
    count, _, height, width = images.shape
    device, places = images.device, (count, height, width)
    own = torch.arange(height * width, device=device).view(height, width)
    down, right = (torch.randint(-reach, reach, places, generator=generator, device=device) for _ in range(2))
    begins = torch.rand(places, generator=generator, device=device) < 0.5
    other = (own + begins * (down * width + right)).flatten(1)
    inside = own[reach + 1 : height - reach + 1, reach + 1 : width - reach + 1].flatten()
    # a pixel's turn comes after that of all to its right, and of all below that share one with it
    turn = 2 * reach * (height - inside // width) + width - inside % width
    values = images.flatten(2).clone()
    for here in inside[turn.argsort()].split(turn.bincount()[turn.unique()].tolist()):
        there = other[:, None, here].expand(-1, values.shape[1], -1)
        own_values, other_values = values[:, :, here], values.gather(2, there)
        values.scatter_(2, there, own_values)
        values[:, :, here] = other_values
    return values.view_as(images)


def warp(images: Tensor, across: tuple[Tensor, Tensor, Tensor], down: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    """Sample each pixel (x, y), relative to the centre, from (a x + b y + c, d x + e y + f); outside is black.

    `across` is (a, b, c), each (N, 1, 1, 1), c in pixels; `down` is (d, e, f) likewise.
    """
    height, width = images.shape[2:]
    (a, b, c), (d, e, f) = across, down
    rows = [a, b * height / width, 2 * c / width, d * width / height, e, 2 * f / height]
    theta = torch.cat(torch.broadcast_tensors(*rows), 1).reshape(-1, 2, 3)
    grid = F.affine_grid(theta.expand(len(images), 2, 3), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, align_corners=False)
