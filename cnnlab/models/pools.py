"""Layer kinds that pool: each window of a map becomes one value.

Args:
    kernel_size: size of the window along each axis, one number or one per axis.
    stride: step of the window, one number or one per axis; by default the size of the window.
    padding: values added at each edge, one number or one per axis.
    ceil: keep windows that extend beyond the far edges.
    output_size: output size along each axis, one number or one per axis.
"""

from torch import nn

from cnnlab.models.kinds import Size, by_rank, layer
from cnnlab.models.merges import Shape
from cnnlab.models.modules import LPPool, TrainablePool


@layer()
def maxpool(
    shape: Shape, kernel_size: Size, stride: Size | None = None, padding: Size = 0, ceil: bool = False
) -> nn.Module:
    """Take the maximum of each window."""
    return by_rank(shape, nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d)(kernel_size, stride, padding, ceil_mode=ceil)


@layer()
def avgpool(
    shape: Shape, kernel_size: Size, stride: Size | None = None, padding: Size = 0, ceil: bool = False
) -> nn.Module:
    """Take the mean of each window."""
    return by_rank(shape, nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d)(kernel_size, stride, padding, ceil_mode=ceil)


@layer()
def lppool(
    shape: Shape, kernel_size: Size, p: float = 2.0, stride: Size | None = None, ceil: bool = False
) -> nn.Module:
    """Take the p-norm of each window.

    Args:
        p: exponent of the norm, at least 1: 1 sums magnitudes, a large p approaches their maximum.
    """
    return by_rank(shape, LPPool, LPPool, LPPool)(p, kernel_size, stride, ceil)


@layer()
def adaptive_avgpool(shape: Shape, output_size: Size = 1) -> nn.Module:
    """Take means over windows that give a fixed output size, by default the mean of every map."""
    return by_rank(shape, nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d)(output_size)


@layer()
def adaptive_maxpool(shape: Shape, output_size: Size = 1) -> nn.Module:
    """Take maxima over windows that give a fixed output size, by default the maximum of every map."""
    return by_rank(shape, nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool3d)(output_size)


@layer()
def trainable_pool(shape: Shape, kernel_size: Size, stride: Size | None = None, ceil: bool = False) -> nn.Module:
    """Take the mean of each window, times a coefficient and plus a bias per map (LeNet-5; LeCun et al. 1998)."""
    return by_rank(shape, TrainablePool, TrainablePool, TrainablePool)(shape[0], kernel_size, stride, ceil)
