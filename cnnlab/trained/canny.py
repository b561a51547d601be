"""Detect edges in batches of images by Canny's method."""

import torch
import torch.nn.functional as F
from torch import Tensor

from cnnlab.trained.pixels import fetch, smooth

SOBEL = ((-1.0, -2.0, -1.0), (0.0, 0.0, 0.0), (1.0, 2.0, 1.0))
# scikit-image's defaults, which MNIST-C used
SIGMA = 1.0  # pixels, standard deviation of the Gaussian that smooths first
LOW, HIGH = 0.1, 0.2  # thresholds of the gradient


def canny(grey: Tensor) -> Tensor:
    """Return the edges of images (N, 1, H, W), floats from 0 to 1, as ones on zeros, one pixel wide (Canny 1986).

    An edge is where the Sobel gradient is at least LOW, is the largest along its direction, and is connected with a
    pixel where it is at least HIGH. Pixels at the image's border are never edges.
    """
    kernel = torch.tensor(SOBEL, device=grey.device)
    padded = F.pad(smooth(grey, SIGMA), (1, 1, 1, 1), mode="replicate")
    dy, dx = F.conv2d(padded, torch.stack([kernel, kernel.T])[:, None]).split(1, 1)
    size = torch.hypot(dx, dy)
    thin = _largest_along(size, dy, dx) & F.pad(torch.ones_like(size[..., 1:-1, 1:-1]), (1, 1, 1, 1)).bool()
    weak, strong = thin & (size >= LOW), thin & (size >= HIGH)
    while True:  # strong edges grow along weak ones
        grown = weak & (F.max_pool2d(strong.float(), 3, stride=1, padding=1) > 0)
        if torch.equal(grown, strong):
            return grown.float()
        strong = grown


def _largest_along(size: Tensor, dy: Tensor, dx: Tensor) -> Tensor:
    """Return where the gradient is no smaller than at both neighbours along its direction, interpolated from pixels."""
    steep = dy.abs() > dx.abs()
    share = torch.where(steep, dx.abs() / dy.abs().clamp(min=1e-12), dy.abs() / dx.abs().clamp(min=1e-12))
    largest = size > 0
    for side in (1, -1):
        down, right = side * dy.sign(), side * dx.sign()
        straight = fetch(size, torch.where(steep, down, 0), torch.where(steep, 0, right))
        largest &= (1 - share) * straight + share * fetch(size, down, right) <= size
    return largest
