"""Canny's edge detector for whole batches of images."""

import torch
import torch.nn.functional as F
from torch import Tensor

from cnnlab.trained.pixels import fetch, smooth

SOBEL = ((-1.0, -2.0, -1.0), (0.0, 0.0, 0.0), (1.0, 2.0, 1.0))
SIGMA = 1.0  # pixels, of the Gaussian that smooths first; as the other two, scikit-image's default, which MNIST-C took
LOW, HIGH = 0.1, 0.2  # of gradients


def canny(grey: Tensor) -> Tensor:
    """Draw the edges of images (N, 1, H, W), floats from 0 to 1, as 1 on 0 (Canny 1986), one pixel wide.

    An edge is where the gradient by Sobel's operator is at least LOW, the largest along its direction, and connected
    with a place where it is at least HIGH. Pixels at the border of the image are no edges.
    """
    kernel = torch.tensor(SOBEL, device=grey.device)
    padded = F.pad(smooth(grey, SIGMA), (1, 1, 1, 1), mode="replicate")
    dy, dx = F.conv2d(padded, torch.stack([kernel, kernel.T])[:, None]).split(1, 1)
    size = torch.hypot(dx, dy)
    thin = _largest_along(size, dy, dx) & F.pad(torch.ones_like(size[..., 1:-1, 1:-1]), (1, 1, 1, 1)).bool()
    weak, strong = thin & (size >= LOW), thin & (size >= HIGH)
    while True:  # strong ones grow along weak ones
        grown = weak & (F.max_pool2d(strong.float(), 3, stride=1, padding=1) > 0)
        if torch.equal(grown, strong):
            return grown.float()
        strong = grown


def _largest_along(size: Tensor, dy: Tensor, dx: Tensor) -> Tensor:
    """Return where no neighbour along the gradient, interpolated between two pixels, has a larger one."""
    steep = dy.abs() > dx.abs()
    share = torch.where(steep, dx.abs() / dy.abs().clamp(min=1e-12), dy.abs() / dx.abs().clamp(min=1e-12))
    largest = size > 0
    for side in (1, -1):
        down, right = side * dy.sign(), side * dx.sign()
        straight = fetch(size, torch.where(steep, down, 0), torch.where(steep, 0, right))
        largest &= (1 - share) * straight + share * fetch(size, down, right) <= size
    return largest
