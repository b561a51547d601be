"""Layer kinds whose weights slide over a map: convolutions, and what is like them.

Args:
    channels: number of filters, so of maps that come out.
    kernel_size: size of the window along each axis, one number or one an axis.
    stride: step of the window, one number or one an axis.
    padding: zeros added at each edge, one number or one an axis; or valid, none; or same, as many as give
        ceil(size / stride) places, one more at the far edge where their number is odd.
    bias: add a trained bias to each value or map that comes out.
    weights: nested lists of the values that the weights start from, outputs first; drawn unless given.
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
        dilation: step between the values that a window sees, one number or one an axis.
        groups: number of groups of maps; a filter sees those of its own.
        bias: add a trained bias to each value or map that comes out; or the values that it starts from.
        connections: for each filter a list of the maps it sees, as for LeNet-5's C3; all of its group unless given.
        correlate: lay the kernel on the input as it is written, as networks do; false turns it by half, which is the
            convolution of mathematics.
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
    """Look at windows as a convolution does, with filters and biases of its own at every place (Gregor & LeCun 2010).

    Args:
        channels: number of values that come out at each place.
    """
    axes = len(shape) - 1
    edges = edges_of(padding, shape[1:], kernel_size, stride)
    sizes = axes_of(kernel_size, axes), axes_of(stride, axes)
    return by_rank(shape, Local, Local, Local)(shape, channels, *sizes, edges, bias)


@layer(unit=True)
def whiten(shape: Shape, kernel_size: int = 2, eps: float = 5e-4) -> nn.Module:
    """Whiten patches of the training images by a convolution of which only the biases are trained.

    It gives the patches' principal components, scaled to unit deviation, each with both signs (Page 2018; Jordan 2024).

    Args:
        kernel_size: height and width of a patch.
        eps: added to the variance of each component.
    """
    return Whiten2d(maps(shape), kernel_size, eps)


@layer()
def conv_classifier(shape: Shape, num_classes: int, kernel_size: Size = 1, bias: bool = True) -> nn.Module:
    """Give each class a map of its own by a convolution; pooling over all positions and `flatten` follow it.

    The data gives the number of classes.
    """
    return by_rank(shape, nn.Conv1d, nn.Conv2d, nn.Conv3d)(shape[0], num_classes, kernel_size, bias=bias)


@layer()
def fixed_filter(shape: Shape, kernel: str | list[list[float]], normalise: bool = False) -> nn.Module:
    """Apply an image kernel to every map, untrained.

    Args:
        kernel: sharpen, blur, edge_enhance, edge_detect, emboss, sobel_x, sobel_y, or the rows of a kernel of odd size.
        normalise: divide by the absolute value of the kernel's sum, where it is not 0, which keeps the brightness.
    """
    return FixedFilter2d(maps(shape), kernel, normalise)
