"""Modules that torch.nn lacks: those of LeNet-5 as published (LeCun et al. 1998), p-norm pools, image kernels."""

from collections.abc import Sequence
from math import prod
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cnnlab.models.conv_modules import pad
from cnnlab.models.merges import show
from cnnlab.models.windows import axes_of, beyond
from cnnlab.registry import pick


class Scale(nn.Module):
    """Multiplication by a constant."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        """Multiply x, of any shape."""
        return x * self.factor


AVERAGES = (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)  # by the number of axes


class TrainablePool(nn.Module):
    """LeNet-5's subsampling: the mean of each window, times a coefficient plus a bias per map.

    The paper multiplies the sum, so its coefficient is this one over the window's area.
    """

    def __init__(self, channels: int, kernel_size: Any, stride: Any = None, ceil: bool = False) -> None:
        super().__init__()
        self.kernel_size, self.stride, self.ceil = kernel_size, stride or kernel_size, ceil
        self.coefficient = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Pool (N, channels, ...) along its one to three last axes."""
        axes = x.ndim - 2
        means: Tensor = AVERAGES[axes - 1](x, self.kernel_size, self.stride, ceil_mode=self.ceil)
        factor, constant = (values.view(-1, *[1] * axes) for values in (self.coefficient, self.bias))
        return means * factor + constant


class LPPool(nn.Module):
    """The p-norm of each window, (sum |x|^p)^(1/p) with p >= 1, along one to three axes.

    torch's LPPool omits the absolute value, so that signs cancel for an odd p and a fractional p gives NaN below 0; its
    gradient is NaN where a whole window is 0, and 0 here.

    Args:
        p: exponent of the norm.
        kernel_size, stride, ceil: as torch's pools.
    """

    def __init__(self, p: float, kernel_size: Any, stride: Any = None, ceil: bool = False) -> None:
        super().__init__()
        if not p >= 1:
            raise ValueError(f"p of a norm is at least 1, not {p}")
        self.p, self.kernel_size, self.stride, self.ceil = p, kernel_size, stride or kernel_size, ceil

    def forward(self, x: Tensor) -> Tensor:
        """Pool (N, C, ...) along its last axes."""
        sums = self._sums(x.abs().pow(self.p))
        return sums.clamp(min=torch.finfo(sums.dtype).tiny).pow(1 / self.p)  # the gradient of a root is infinite at 0

    def _sums(self, x: Tensor) -> Tensor:
        """Sum each window as its mean times its area, because ONNX has no other divisor; padding is zeros."""
        axes = x.ndim - 2
        kernel, stride = axes_of(self.kernel_size, axes), axes_of(self.stride, axes)
        if self.ceil:
            x = pad(x, tuple((0, beyond(n, k, s)) for n, k, s in zip(x.shape[2:], kernel, stride, strict=True)))
        means: Tensor = AVERAGES[axes - 1](x, kernel, stride)
        return means * prod(kernel)


class RBFOutput(nn.Module):
    """LeNet-5's output: minus the squared distance of 84 values to each class's fixed 7x12 bitmap.

    The nearest class has the largest output, as with logits.
    """

    codes: Tensor

    def __init__(self, in_features: int, num_classes: int) -> None:
        super().__init__()
        codes = torch.tensor([[1.0 if c == "#" else -1.0 for c in digit] for digit in DIGITS])
        if num_classes > len(codes):
            raise ValueError(f"there are bitmaps of {len(codes)} digits, not of {num_classes} classes")
        if in_features != codes.shape[1]:
            raise ValueError(f"needs {codes.shape[1]} values, a 7x12 bitmap, and gets {in_features}")
        self.register_buffer("codes", codes[:num_classes])

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, 84) to (N, classes)."""
        squares = x.square().sum(1, keepdim=True) + self.codes.square().sum(1)
        return 2 * F.linear(x, self.codes.to(x.dtype)) - squares


class FixedFilter2d(nn.Module):
    """An untrained image kernel that is applied to each map; the map's size is kept.

    Args:
        kernel: a name in KERNELS, or the rows of a kernel of odd size.
        normalise: divide by the absolute value of the kernel's sum unless it is 0, which keeps the brightness; a
            kernel whose sum is negative keeps its sign.
    """

    kernel: Tensor

    def __init__(self, channels: int, kernel: str | Sequence[Sequence[float]], normalise: bool = False) -> None:
        super().__init__()
        if isinstance(kernel, str):
            kernel = pick(KERNELS, kernel, "kernel")
        values = torch.tensor(kernel, dtype=torch.float32)
        if values.ndim != 2 or values.shape[0] % 2 == 0 or values.shape[1] % 2 == 0:
            raise ValueError(f"a kernel has rows and columns of odd number, not {show(values.shape)}")
        total = sum(sum(row) for row in kernel)
        self.register_buffer("kernel", values / abs(total) if normalise and total else values)
        self.channels, self.kernel_size = channels, tuple(values.shape)
        self.padding = tuple(n // 2 for n in values.shape)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, channels, H, W) to the same shape."""
        weight = self.kernel.to(x.dtype).expand(self.channels, 1, *self.kernel_size)
        return F.conv2d(x, weight, padding=self.padding, groups=self.channels)


KERNELS: dict[str, list[list[float]]] = {
    "sharpen": [[0, 0, 0, 0, 0], [0, 0, -1, 0, 0], [0, -1, 5, -1, 0], [0, 0, -1, 0, 0], [0, 0, 0, 0, 0]],
    "blur": [[0, 0, 0, 0, 0], [0, 1, 1, 1, 0], [0, 1, 1, 1, 0], [0, 1, 1, 1, 0], [0, 0, 0, 0, 0]],
    "edge_enhance": [[0, 0, 0], [-1, 1, 0], [0, 0, 0]],
    "edge_detect": [[0, 1, 0], [1, -4, 1], [0, 1, 0]],
    "emboss": [[-2, -1, 0], [-1, 1, 1], [0, 1, 2]],
    "sobel_x": [[1, 0, -1], [2, 0, -2], [1, 0, -1]],
    "sobel_y": [[1, 2, 1], [0, 0, 0], [-1, -2, -1]],
}

# the ten digits, seven pixels wide and twelve high, side by side
_DRAWN = """
 #####     ##      #####    #####       ##   #######   #####   #######   #####    #####
##   ##   ###     ##   ##  ##   ##     ###   ##       ##   ##       ##  ##   ##  ##   ##
##   ##  ####          ##       ##    ####   ##       ##            ##  ##   ##  ##   ##
##   ##    ##          ##       ##   ## ##   ##       ##           ##   ##   ##  ##   ##
##   ##    ##         ##     ####   ##  ##   ######   ######       ##    #####    ######
##   ##    ##        ##         ##  ##  ##        ##  ##   ##     ##    ##   ##       ##
##   ##    ##       ##          ##  #######       ##  ##   ##     ##    ##   ##       ##
##   ##    ##      ##           ##      ##        ##  ##   ##    ##     ##   ##       ##
##   ##    ##     ##            ##      ##        ##  ##   ##    ##     ##   ##       ##
##   ##    ##     ##       ##   ##      ##   ##   ##  ##   ##   ##      ##   ##  ##   ##
 #####   ######   #######   #####       ##    #####    #####    ##       #####    #####
"""
_ROWS = [line.ljust(88) for line in [*_DRAWN.strip("\n").split("\n"), ""]]
DIGITS = ["".join(row[9 * d : 9 * d + 7] for row in _ROWS) for d in range(10)]
