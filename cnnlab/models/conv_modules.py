"""Convolutions that torch.nn lacks, and torch's own where their gradients are wrong on a CPU."""

from collections.abc import Sequence
from math import prod
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cnnlab.models.merges import Shape, show
from cnnlab.models.windows import Edges, axes_of


def convolve(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: tuple[int, ...],
    padding: tuple[int, ...] | str,
    dilation: tuple[int, ...],
    groups: int = 1,
) -> Tensor:
    """Convolve along one to three axes, with correct gradients also where torch's are wrong on a CPU.

    docs/torch-strided-1x1-convolution.md and docs/torch-dilated-bfloat16-convolution.md describe the two defects.
    Arguments are those of F.conv2d, with sizes as tuples of one per axis.
    """
    if x.is_cpu:
        pointwise = groups == 1 and set(weight.shape[2:]) == {1} and (padding == "valid" or set(padding) == {0})
        if pointwise and max(stride) > 1 and weight.shape[1] < 16:
            # oneDNN would copy the strided positions to a buffer, and write past its end
            positions: list[Any] = [slice(None, None, step) for step in stride]
            x, stride = x[(..., *positions)], (1,) * len(stride)
        if len(dilation) == 2 and dilation[0] > 1 and weight.shape[1] % 16 and _computes_in(x) == torch.bfloat16:
            # wrong in channels_last only; contiguous() may keep strides that torch still treats as channels_last
            x, weight = (values.clone(memory_format=torch.contiguous_format) for values in (x, weight))
    function = (F.conv1d, F.conv2d, F.conv3d)[weight.ndim - 3]
    return function(x, weight, bias, stride, padding, dilation, groups)


def _computes_in(x: Tensor) -> torch.dtype:
    """Return the dtype in which a convolution of x on the CPU is computed: autocast's, where that is on."""
    return torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else x.dtype


class OwnConvolution:
    """Mixin with the options that cnnlab's convolutions have in addition to torch's; padding is zeros.

    Args:
        edges: zeros in front of and behind each axis, where these differ; then `padding` is 0.
        correlate: cross-correlate, as networks do; otherwise the kernel is rotated by 180 degrees, which is the
            convolution of mathematics.
        options: as torch's.
    """

    def __init__(self, *options: Any, edges: Edges = (), correlate: bool = True) -> None:
        super().__init__(*options)
        self.edges, self.correlate = edges, correlate

    def forward(self: Any, x: Tensor) -> Tensor:
        """Map (N, in, ...) to (N, out, ...)."""
        weight = self.weight if self.correlate else self.weight.flip(tuple(range(2, self.weight.ndim)))
        x = pad(x, self.edges)
        return convolve(x, weight, self.bias, self.stride, self.padding, self.dilation, self.groups)

    def extra_repr(self) -> str:
        """Return torch's text with the options that differ from torch's defaults."""
        own = (f", edges={self.edges}" if self.edges else "") + ("" if self.correlate else ", correlate=False")
        return f"{super().extra_repr()}{own}"  # type: ignore[misc]


class Conv1d(OwnConvolution, nn.Conv1d):
    """torch's module with the gradients of `convolve` and the options of OwnConvolution."""


class Conv2d(OwnConvolution, nn.Conv2d):
    """torch's module with the gradients of `convolve` and the options of OwnConvolution."""


class Conv3d(OwnConvolution, nn.Conv3d):
    """torch's module with the gradients of `convolve` and the options of OwnConvolution."""


def pad(x: Tensor, edges: Edges) -> Tensor:
    """Put zeros in front of and behind the last axes."""
    return F.pad(x, [zeros for edge in reversed(edges) for zeros in edge]) if edges else x


class Local(nn.Module):
    """A convolution whose filters are not shared: every position has its own filters and biases.

    Examples are the first layers of LeCun's networks of 1989 and the simple cells of Gregor & LeCun (2010).

    Args:
        shape: of one input, channels and one to three axes.
        out_channels: number of output values at each position.
        kernel_size, stride: of the window along each axis.
        edges: zeros in front of and behind each axis.
        bias: whether there is a bias.

    `weight` is (*positions, out, in, *kernel_size); `bias` is one vector, channels first.

    Raises:
        ValueError: the window is larger than the input.
    """

    def __init__(
        self, shape: Sequence[int], out_channels: int, kernel_size: Shape, stride: Shape, edges: Edges, bias: bool
    ) -> None:
        super().__init__()
        self.in_channels, self.out_channels = shape[0], out_channels
        self.kernel_size, self.stride, self.edges = kernel_size, stride, edges
        sizes = [n + sum(edge) for n, edge in zip(shape[1:], edges, strict=True)]
        if any(k > n for k, n in zip(kernel_size, sizes, strict=True)):
            raise ValueError(f"{show(kernel_size)} window on {show(sizes)}")
        self.positions = tuple((n - k) // s + 1 for n, k, s in zip(sizes, kernel_size, stride, strict=True))
        self.weight = nn.Parameter(torch.empty(*self.positions, out_channels, shape[0], *kernel_size))
        reach = prod((shape[0], *kernel_size)) ** -0.5  # torch's range for a convolution
        nn.init.uniform_(self.weight, -reach, reach)
        self.bias = nn.Parameter(torch.empty(out_channels * prod(self.positions))) if bias else None
        if self.bias is not None:
            nn.init.uniform_(self.bias, -reach, reach)

    def filters(self) -> Sequence[Tensor]:
        """Return views of the weights at each position, (out, in, *kernel_size)."""
        return self.weight.detach().flatten(0, len(self.positions) - 1).unbind()

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, in, ...) to (N, out, ...)."""
        axes = len(self.positions)
        x = pad(x, self.edges)
        for axis, (size, step) in enumerate(zip(self.kernel_size, self.stride, strict=True)):
            x = x.unfold(2 + axis, size, step)
        windows = x.movedim(1, 1 + axes).flatten(1 + axes).flatten(1, axes)  # (N, positions, values of a window)
        weight = self.weight.flatten(axes + 1).flatten(0, axes - 1)
        out = torch.einsum("npk,pok->nop", windows, weight)
        if self.bias is not None:
            out = out + self.bias.view(self.out_channels, -1).to(out.dtype)
        values: Tensor = out.unflatten(2, self.positions)
        return values

    def extra_repr(self) -> str:
        """Return the options, which networks must share to be packed."""
        return (
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}, "
            f"edges={self.edges}, bias={self.bias is not None}"
        )


class Whiten2d(nn.Conv2d):
    """A convolution with fixed filters that whiten its input; `fit` sets them, until then they are as torch draws them.

    Args:
        in_channels, kernel_size: as torch's; there are 2 * in_channels * kernel_size^2 filters.
        eps: added to the variance of each principal component.
    """

    def __init__(self, in_channels: int, kernel_size: int, eps: float) -> None:
        super().__init__(in_channels, 2 * in_channels * kernel_size**2, kernel_size)
        self.eps = eps
        self.weight.requires_grad_(False)

    @torch.no_grad()
    def fit(self, images: Tensor) -> None:
        """Set the filters to the whitened principal components of all patches of images (N, C, H, W)."""
        size = self.kernel_size[0]
        patches = F.unfold(images.double(), size).transpose(1, 2).reshape(-1, self.in_channels * size**2)
        variances, components = torch.linalg.eigh(patches.T @ patches / len(patches))
        filters = (components / (variances + self.eps).sqrt()).T.flip(0).reshape(-1, *self.weight.shape[1:])
        self.weight.copy_(torch.cat([filters, -filters]))
        nn.init.zeros_(self.bias)  # type: ignore[arg-type]


class SparseConv2d(nn.Module):
    """A convolution whose filters each read some of the maps; weights exist for these connections only.

    Args:
        in_channels, out_channels, kernel_size, stride, padding: as torch's.
        connections: for each filter the indices of the maps that it reads.

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
        self.kernel_size, self.stride = axes_of(kernel_size, 2), axes_of(stride, 2)
        self.padding = padding if isinstance(padding, str) else axes_of(padding, 2)
        self.register_buffer("targets", torch.tensor([o for o, maps in enumerate(connections) for _ in maps]))
        self.register_buffer("sources", torch.tensor([m for maps in connections for m in maps]))
        # the paper's range, 2.4 over the number of inputs of a unit
        area = self.kernel_size[0] * self.kernel_size[1]
        reach = torch.tensor([2.4 / (len(maps) * area) for maps in connections for _ in maps])
        uniform = torch.rand(len(reach), *self.kernel_size) * 2 - 1
        self.weight = nn.Parameter(uniform * reach.view(-1, 1, 1))
        self.bias = nn.Parameter(torch.zeros(out_channels))

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, in, H, W) to (N, out, H', W')."""
        full = self.weight.new_zeros(self.out_channels, self.in_channels, *self.kernel_size)
        full = full.index_put((self.targets, self.sources), self.weight)
        return convolve(x, full.to(x.dtype), self.bias.to(x.dtype), self.stride, self.padding, (1, 1))
