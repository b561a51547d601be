"""Layer kinds whose windows slide over a map: convolutions, unshared filters, whitening, image kernels.

Args:
    channels: number of filters, which is the number of output maps.
    kernel_size: size of the window along each axis, one number or one per axis.
    stride: step of the window, one number or one per axis.
    padding: zeros added at each edge, one number or one per axis; or valid, none; or same, as many as give
        ceil(size / stride) positions, with the odd one at the far edge.
    bias: add a trained bias to each output map.
    weights: nested lists of initial weights, outputs first; drawn at random by default.
"""

from typing import Any

from torch import nn

from cnnlab.models.conv_modules import Conv1d, Conv2d, Conv3d, Local, SparseConv2d, Whiten2d
from cnnlab.models.initialisation import start_from
from cnnlab.models.kinds import Size, by_rank, layer, maps
from cnnlab.models.merges import Shape
from cnnlab.models.modules import FixedFilter2d
from cnnlab.models.windows import axes_of, edges_of

ONES = (1, (1,), (1, 1), (1, 1, 1))


@layer(unit=True)
def conv(
    shape: Shape,
    channels: int,
    kernel_size: Size,
    stride: Size = 1,
    padding: Size | str = 0,
    dilation: Size = 1,
    groups: int = 1,
    bias: bool | list[float] = True,
    connections: list[list[int]] | None = None,
    weights: list[Any] | None = None,
    correlate: bool = True,
) -> nn.Module:
    """Convolve along one to three axes.

    Args:
        dilation: step between the values in a window, one number or one per axis.
        groups: number of groups of maps; a filter reads the maps of its own group.
        bias: add a trained bias to each output map; or the initial biases, one per map.
        connections: for each filter a list of the maps that it reads, as for LeNet-5's C3; by default all of its group.
        correlate: cross-correlate, as networks do; false rotates the kernel by 180 degrees, which is the convolution of
            mathematics.
    """
    strided = stride not in ONES
    edges = edges_of("same", shape[1:], kernel_size, stride, dilation) if padding == "same" and strided else ()
    if edges:
        even = all(before == behind for before, behind in edges)
        padding, edges = (tuple(before for before, _ in edges), ()) if even else (0, edges)
    if connections is not None:
        if weights is not None or not isinstance(bias, bool):
            raise ValueError("connections and given weights or bias do not go together; leave one out")
        if edges or not correlate:
            raise ValueError("connections and correlate=false, or more zeros on one side, do not go together")
        return SparseConv2d(maps(shape), channels, kernel_size, connections, stride=stride, padding=padding)
    suspect = dilation not in ONES or (kernel_size in ONES and strided)  # torch's may have wrong gradients
    options = (shape[0], channels, kernel_size, stride, padding, dilation, groups, bias is not False)
    if suspect or edges or not correlate:
        made = by_rank(shape, Conv1d, Conv2d, Conv3d)(*options, edges=edges, correlate=correlate)
    else:
        made = by_rank(shape, nn.Conv1d, nn.Conv2d, nn.Conv3d)(*options)
    return start_from(made, weights, bias)


@layer(unit=True)
def local(
    shape: Shape,
    channels: int,
    kernel_size: Size,
    stride: Size = 1,
    padding: Size | str = 0,
    bias: bool = True,
) -> nn.Module:
    """Convolve without sharing filters: every position has its own filters and biases (Gregor & LeCun 2010).

    Args:
        channels: number of output values at each position.
        bias: add a trained bias to each output value.
    """
    axes = len(shape) - 1
    edges = edges_of(padding, shape[1:], kernel_size, stride)
    sizes = axes_of(kernel_size, axes), axes_of(stride, axes)
    return by_rank(shape, Local, Local, Local)(shape, channels, *sizes, edges, bias)


@layer(unit=True)
def whiten(shape: Shape, kernel_size: int = 2, eps: float = 5e-4) -> nn.Module:
    """Whiten patches of the training images by a convolution of which only the biases are trained.

    Its outputs are the patches' principal components, scaled to unit standard deviation, each with both signs (Page
    2018; Jordan 2024).

    Args:
        kernel_size: height and width of a patch.
        eps: added to the variance of each principal component.
    """
    return Whiten2d(maps(shape), kernel_size, eps)


@layer()
def conv_classifier(shape: Shape, num_classes: int, kernel_size: Size = 1, bias: bool = True) -> nn.Module:
    """Compute one map per class by a convolution; follow it by pooling over all positions and `flatten`.

    The number of classes comes from the data.
    """
    return by_rank(shape, nn.Conv1d, nn.Conv2d, nn.Conv3d)(shape[0], num_classes, kernel_size, bias=bias)


@layer()
def fixed_filter(shape: Shape, kernel: str | list[list[float]], normalise: bool = False) -> nn.Module:
    """Apply a fixed image kernel to every map.

    Args:
        kernel: sharpen, blur, edge_enhance, edge_detect, emboss, sobel_x, sobel_y, or the rows of a kernel of odd size.
        normalise: divide by the absolute value of the kernel's sum unless it is 0, which keeps the brightness.
    """
    return FixedFilter2d(maps(shape), kernel, normalise)
