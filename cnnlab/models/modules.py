"""Modules that torch.nn lacks, from LeNet-5 as it was published (LeCun et al. 1998) and from image processing."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cnnlab.registry import pick


def convolve(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: tuple[int, ...],
    padding: tuple[int, ...] | str,
    dilation: tuple[int, ...],
    groups: int = 1,
) -> Tensor:
    """Convolve along one or two axes, with right gradients also where torch's are wrong on a CPU.

    Where, and how, docs/torch-strided-1x1-convolution.md and docs/torch-dilated-bfloat16-convolution.md tell. Arguments
    are those of F.conv2d, sizes one an axis.
    """
    if x.is_cpu:
        pointwise = groups == 1 and set(weight.shape[2:]) == {1} and (padding == "valid" or set(padding) == {0})
        if pointwise and max(stride) > 1 and weight.shape[1] < 16:
            # oneDNN would copy the strided positions to a buffer, and write past its end
            positions: list[Any] = [slice(None, None, step) for step in stride]
            x, stride = x[(..., *positions)], (1,) * len(stride)
        if len(dilation) == 2 and dilation[0] > 1 and weight.shape[1] % 16 and _computes_in(x) == torch.bfloat16:
            # wrong in channels_last only; contiguous() may leave strides that torch still takes for channels_last
            x, weight = (values.clone(memory_format=torch.contiguous_format) for values in (x, weight))
    function = F.conv1d if weight.ndim == 3 else F.conv2d
    return function(x, weight, bias, stride, padding, dilation, groups)


def _computes_in(x: Tensor) -> torch.dtype:
    """The type in which autocast, where it is on, lets a convolution of x on the CPU be computed."""
    return torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else x.dtype


class Conv1d(nn.Conv1d):
    """torch's, with zeros as padding and the gradients of `convolve`."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, in, L) to (N, out, L')."""
        return convolve(x, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups)


class Conv2d(nn.Conv2d):
    """torch's, with zeros as padding and the gradients of `convolve`."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, in, H, W) to (N, out, H', W')."""
        return convolve(x, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups)


class Scale(nn.Module):
    """Times a constant."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        """Any shape to the same."""
        return x * self.factor


class Whiten2d(nn.Conv2d):
    """A convolution with fixed filters that whiten what comes in; `fit` sets them, until then they are as torch draws.

    Args:
        in_channels, kernel_size: as torch's; there are 2 * in_channels * kernel_size^2 filters.
        eps: added to each component's variance.
    """

    def __init__(self, in_channels: int, kernel_size: int, eps: float) -> None:
        super().__init__(in_channels, 2 * in_channels * kernel_size**2, kernel_size)
        self.eps = eps
        self.weight.requires_grad_(False)

    @torch.no_grad()
    def fit(self, images: Tensor) -> None:
        """Take the components of all patches of images (N, C, H, W)."""
        size = self.kernel_size[0]
        patches = F.unfold(images.double(), size).transpose(1, 2).reshape(-1, self.in_channels * size**2)
        variances, components = torch.linalg.eigh(patches.T @ patches / len(patches))
        filters = (components / (variances + self.eps).sqrt()).T.flip(0).reshape(-1, *self.weight.shape[1:])
        self.weight.copy_(torch.cat([filters, -filters]))
        nn.init.zeros_(self.bias)  # type: ignore[arg-type]


class SparseConv2d(nn.Module):
    """A convolution whose filters see some of the maps only: exactly the weights of these connections, and biases.

    Args:
        in_channels, out_channels, kernel_size, stride, padding: as torch's.
        connections: for each filter the maps it sees.

    Raises:
        ValueError: not one list of existing maps for each filter.
    """

    sources: Tensor
    targets: Tensor

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        connections: Sequence[Sequence[int]],
        stride: Any = 1,
        padding: Any = 0,
    ) -> None:
        super().__init__()
        if len(connections) != out_channels:
            raise ValueError(f"connections has {len(connections)} lists for {out_channels} channels; give one for each")
        if not all(0 <= m < in_channels for maps in connections for m in maps) or not all(connections):
            raise ValueError(f"connections names maps from 0 to {in_channels - 1}, at least one for each channel")
        self.in_channels, self.out_channels = in_channels, out_channels
        self.kernel_size = (kernel_size, kernel_size) if isinstance(kernel_size, int) else tuple(kernel_size)
        self.stride = (stride, stride) if isinstance(stride, int) else tuple(stride)
        self.padding = (padding, padding) if isinstance(padding, int) else padding
        self.register_buffer("targets", torch.tensor([o for o, maps in enumerate(connections) for _ in maps]))
        self.register_buffer("sources", torch.tensor([m for maps in connections for m in maps]))
        # the paper's range, 2.4 over the number of inputs of a unit
        area = self.kernel_size[0] * self.kernel_size[1]
        reach = torch.tensor([2.4 / (len(maps) * area) for maps in connections for _ in maps])
        uniform = torch.rand(len(reach), *self.kernel_size) * 2 - 1
        self.weight = nn.Parameter(uniform * reach.view(-1, 1, 1))
        self.bias = nn.Parameter(torch.zeros(out_channels))

    def forward(self, x: Tensor) -> Tensor:
        """(N, in, H, W) to (N, out, H', W')."""
        full = self.weight.new_zeros(self.out_channels, self.in_channels, *self.kernel_size)
        full = full.index_put((self.targets, self.sources), self.weight)
        return convolve(x, full.to(x.dtype), self.bias.to(x.dtype), self.stride, self.padding, (1, 1))


class TrainablePool2d(nn.Module):
    """LeNet-5's subsampling: the mean of each window times one coefficient and plus one bias for each map.

    The paper multiplies the sum, so its coefficient is this one over the window's area.
    """

    def __init__(self, channels: int, kernel_size: Any, stride: Any = None, ceil: bool = False) -> None:
        super().__init__()
        self.kernel_size, self.stride, self.ceil = kernel_size, stride or kernel_size, ceil
        self.coefficient = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels, H, W) to (N, channels, H', W')."""
        means = F.avg_pool2d(x, self.kernel_size, self.stride, ceil_mode=self.ceil)
        return means * self.coefficient.view(-1, 1, 1) + self.bias.view(-1, 1, 1)


class LPPool2d(nn.Module):
    """The p-norm of each window, (sum |x|^p)^(1/p), for every p from 1 on.

    torch's own leaves out the magnitude, so that an odd p cancels signs and a fractional one gives NaN below 0, and its
    gradient is NaN where a whole window is 0; here it is 0 there.

    Args:
        p: of the norm.
        kernel_size, stride, ceil: as torch's pools.
    """

    def __init__(self, p: float, kernel_size: Any, stride: Any = None, ceil: bool = False) -> None:
        super().__init__()
        if not p >= 1:
            raise ValueError(f"p of a norm is at least 1, not {p}")
        self.p, self.kernel_size, self.stride, self.ceil = p, kernel_size, stride or kernel_size, ceil

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C, H', W')."""
        powers = x.abs().pow(self.p)
        sums = F.avg_pool2d(powers, self.kernel_size, self.stride, ceil_mode=self.ceil, divisor_override=1)
        return sums.clamp(min=torch.finfo(sums.dtype).tiny).pow(1 / self.p)  # a root has no gradient at 0


class LPPool1d(LPPool2d):
    """The same along one axis."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, L) to (N, C, L')."""
        rows = LPPool2d(self.p, _of_row(self.kernel_size), _of_row(self.stride), self.ceil)
        pooled: Tensor = rows(x.unsqueeze(2))
        return pooled.squeeze(2)


def _of_row(size: Any) -> tuple[int, int]:
    return 1, size if isinstance(size, int) else size[0]


class RBFOutput(nn.Module):
    """LeNet-5's output: how far 84 values are from each class's fixed 7x12 bitmap, squared; given as minus that.

    So the nearest class has the largest output, as with logits.
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
        """(N, 84) to (N, classes)."""
        squares = x.square().sum(1, keepdim=True) + self.codes.square().sum(1)
        return 2 * F.linear(x, self.codes.to(x.dtype)) - squares


class FixedFilter2d(nn.Module):
    """One fixed image kernel on each map, the size kept: what image processing does by hand. Nothing is trained.

    Args:
        kernel: a name in KERNELS, or the rows of a kernel of odd size.
        normalise: divide by the absolute value of the kernel's sum, where it is not 0, so that brightness stays; a
            kernel whose sum is negative keeps its sign.
    """

    kernel: Tensor

    def __init__(self, channels: int, kernel: str | Sequence[Sequence[float]], normalise: bool = False) -> None:
        super().__init__()
        if isinstance(kernel, str):
            kernel = pick(KERNELS, kernel, "kernel")
        values = torch.tensor(kernel, dtype=torch.float32)
        if values.ndim != 2 or values.shape[0] % 2 == 0 or values.shape[1] % 2 == 0:
            raise ValueError(f"a kernel has rows and columns of odd number, not {'x'.join(map(str, values.shape))}")
        total = sum(sum(row) for row in kernel)
        self.register_buffer("kernel", values / abs(total) if normalise and total else values)
        self.channels, self.kernel_size = channels, tuple(values.shape)
        self.padding = tuple(n // 2 for n in values.shape)

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels, H, W) to the same shape."""
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
