"""The layer vocabulary: kind -> module, made for the shape that comes in.

A kind is one function. Its first argument is the incoming shape (without the batch axis; for a merge, the merged one),
the others are the options a layer of `conf/model/*.yaml` may give; their defaults are the layer's defaults. To add a
kind, add a function.

Args:
    channels: number of filters, so of maps that come out.
    features: number of values that come out.
    kernel_size: height and width of the window, one number or two.
    stride: step of the window, one number or two; the size of the window unless given.
    padding: pixels added at each edge, one number or two.
    bias: add a trained bias to each value or map that comes out.
    weights: nested lists of the values that the weights start from, outputs first; drawn unless given.
    ceil: keep the windows that reach over the right and lower edge.
    output_size: height and width of what comes out, one number or two.
    p: probability of each value or map to be zeroed in training.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import nn

from cnnlab.models.initialisation import start_from
from cnnlab.models.merges import Add, Concat, Multiply, Shape
from cnnlab.models.modules import (
    Conv1d,
    Conv2d,
    FixedFilter2d,
    LPPool1d,
    LPPool2d,
    RBFOutput,
    Scale,
    SparseConv2d,
    TrainablePool2d,
    Whiten2d,
)
from cnnlab.models.zoo import from_torchvision

Size = int | tuple[int, ...]


@dataclass(frozen=True)
class Kind:
    """How to make one kind of layer."""

    make: Callable[..., nn.Module]
    unit: bool  # a unit of the lectures: carries its norm, activation and dropout
    dense: bool  # wants a vector: what comes in is flattened first
    merge: bool  # reads several layers, not one

    @property
    def options(self) -> list[str]:
        """The options a layer of this kind may give."""
        return list(inspect.signature(self.make).parameters)[1:]

    @property
    def gives_classes(self) -> bool:
        """Whether a layer of this kind gives one value a class."""
        return "num_classes" in self.options

    @property
    def reads_words(self) -> bool:
        """Whether a layer of this kind reads ids of words."""
        return "words" in self.options


KINDS: dict[str, Kind] = {}


def layer(
    *, unit: bool = False, dense: bool = False, merge: bool = False
) -> Callable[[Callable[..., nn.Module]], Callable[..., nn.Module]]:
    """Register the decorated function as the kind of its name."""

    def register(make: Callable[..., nn.Module]) -> Callable[..., nn.Module]:
        KINDS[make.__name__] = Kind(make, unit, dense, merge)
        return make

    return register


def _by_rank(shape: Shape, *modules: Callable[..., nn.Module]) -> Callable[..., nn.Module]:
    """The 1-D or 2-D module for a (channels, length) or (channels, height, width) input."""
    if not 2 <= len(shape) <= 1 + len(modules):
        raise ValueError(f"needs channels and one or two axes, got {'x'.join(map(str, shape))}")
    return modules[len(shape) - 2]


def _maps(shape: Shape) -> int:
    """Return the channels of a (channels, height, width) input."""
    if len(shape) != 3:
        raise ValueError(f"needs channels, height and width, got {'x'.join(map(str, shape))}")
    return shape[0]


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
) -> nn.Module:
    """Convolve along one or two axes.

    Args:
        stride: step of the window, one number or two.
        padding: pixels of zeros added at each edge, one number or two; or same (stride 1) or valid.
        dilation: step between the values that a window sees, one number or two.
        groups: number of groups of maps; a filter sees those of its own.
        bias: add a trained bias to each value or map that comes out; or the values that it starts from.
        connections: for each filter a list of the maps it sees, as for LeNet-5's C3; all of its group unless given.
    """
    if connections is not None:
        if weights is not None or not isinstance(bias, bool):
            raise ValueError("connections and given weights or bias do not go together; leave one out")
        return SparseConv2d(_maps(shape), channels, kernel_size, connections, stride=stride, padding=padding)
    ones = (1, (1,), (1, 1))
    suspect = dilation not in ones or (kernel_size in ones and stride not in ones)  # torch's may have wrong gradients
    module = _by_rank(shape, Conv1d, Conv2d) if suspect else _by_rank(shape, nn.Conv1d, nn.Conv2d)
    made = module(shape[0], channels, kernel_size, stride, padding, dilation, groups, bias is not False)
    return start_from(made, weights, bias)


@layer(unit=True)
def whiten(shape: Shape, kernel_size: int = 2, eps: float = 5e-4) -> nn.Module:
    """Whiten patches of the training images by a convolution of which only the biases are trained.

    It gives the patches' principal components, scaled to unit deviation, each with both signs (Page 2018; Jordan 2024).

    Args:
        kernel_size: height and width of a patch.
        eps: added to the variance of each component.
    """
    return Whiten2d(_maps(shape), kernel_size, eps)


@layer(unit=True, dense=True)
def linear(shape: Shape, features: int, bias: bool | list[float] = True, weights: list[Any] | None = None) -> nn.Module:
    """Multiply by a weight matrix: a dense layer.

    Args:
        bias: add a trained bias to each value or map that comes out; or the values that it starts from.
    """
    return start_from(nn.Linear(shape[0], features, bias is not False), weights, bias)


@layer(dense=True)
def classifier(
    shape: Shape, num_classes: int, bias: bool | list[float] = True, weights: list[Any] | None = None
) -> nn.Module:
    """End a network in a dense layer of one logit a class; the data gives the number of classes.

    Args:
        bias: add a trained bias to each value or map that comes out; or the values that it starts from.
    """
    return start_from(nn.Linear(shape[0], num_classes, bias is not False), weights, bias)


@layer()
def conv_classifier(shape: Shape, num_classes: int, kernel_size: Size = 1, bias: bool = True) -> nn.Module:
    """Give each class a map of its own by a convolution; pooling over all positions and `flatten` follow it.

    The data gives the number of classes.
    """
    return _by_rank(shape, nn.Conv1d, nn.Conv2d)(shape[0], num_classes, kernel_size, bias=bias)


@layer()
def maxpool(
    shape: Shape, kernel_size: Size, stride: Size | None = None, padding: Size = 0, ceil: bool = False
) -> nn.Module:
    """Take the maximum of each window."""
    return _by_rank(shape, nn.MaxPool1d, nn.MaxPool2d)(kernel_size, stride, padding, ceil_mode=ceil)


@layer()
def avgpool(
    shape: Shape, kernel_size: Size, stride: Size | None = None, padding: Size = 0, ceil: bool = False
) -> nn.Module:
    """Take the mean of each window."""
    return _by_rank(shape, nn.AvgPool1d, nn.AvgPool2d)(kernel_size, stride, padding, ceil_mode=ceil)


@layer()
def lppool(
    shape: Shape, kernel_size: Size, p: float = 2.0, stride: Size | None = None, ceil: bool = False
) -> nn.Module:
    """Take the p-norm of each window.

    Args:
        p: of the norm, at least 1: 1 sums magnitudes, a large p comes near the largest.
    """
    return _by_rank(shape, LPPool1d, LPPool2d)(p, kernel_size, stride, ceil)


@layer()
def adaptive_avgpool(shape: Shape, output_size: Size = 1) -> nn.Module:
    """Take means over windows that give a fixed output size, by default the mean of every map."""
    return _by_rank(shape, nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d)(output_size)


@layer()
def adaptive_maxpool(shape: Shape, output_size: Size = 1) -> nn.Module:
    """Take maxima over windows that give a fixed output size, by default the maximum of every map."""
    return _by_rank(shape, nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d)(output_size)


@layer()
def batchnorm(shape: Shape, eps: float = 1e-5, momentum: float = 0.1) -> nn.Module:
    """Normalise each map or feature over the batch (Ioffe & Szegedy 2015).

    Args:
        eps: added to the variance.
        momentum: share of the newest batch in the mean and variance that evaluation uses.
    """
    return (nn.BatchNorm1d if len(shape) < 3 else nn.BatchNorm2d)(shape[0], eps, momentum)


@layer()
def layernorm(shape: Shape) -> nn.Module:
    """Normalise over all maps of an image together, scaled per map (Ba et al. 2016)."""
    return nn.GroupNorm(1, shape[0]) if len(shape) > 1 else nn.LayerNorm(shape)


@layer()
def groupnorm(shape: Shape, groups: int = 8) -> nn.Module:
    """Normalise over groups of an image's maps (Wu & He 2018).

    Args:
        groups: number of groups; fewer where it does not divide the maps.
    """
    return nn.GroupNorm(next(g for g in range(min(groups, shape[0]), 0, -1) if shape[0] % g == 0), shape[0])


@layer()
def instancenorm(shape: Shape) -> nn.Module:
    """Normalise each map of an image by itself, scaled per map (Ulyanov et al. 2016)."""
    return _by_rank(shape, nn.InstanceNorm1d, nn.InstanceNorm2d)(shape[0], affine=True)


@layer()
def lrn(shape: Shape, size: int = 5, alpha: float = 1e-4, beta: float = 0.75, k: float = 2.0) -> nn.Module:
    """Divide each value by (k + alpha * sum of squares)^beta, over neighbouring maps (Krizhevsky et al. 2012).

    Args:
        size: number of neighbouring maps in the sum.
        alpha: factor of the sum, as in the paper; torch's is this times the size.
        beta: exponent.
        k: added to the sum.
    """
    return nn.LocalResponseNorm(size, alpha * size, beta, k)  # torch divides alpha by the size


@layer()
def dropout(shape: Shape, p: float = 0.5) -> nn.Module:
    """Zero single values by chance in training (Srivastava et al. 2014)."""
    return nn.Dropout(p)


@layer()
def channel_dropout(shape: Shape, p: float = 0.5) -> nn.Module:
    """Zero whole maps by chance in training (Tompson et al. 2015)."""
    return _by_rank(shape, nn.Dropout1d, nn.Dropout2d)(p)


@layer()
def scale(shape: Shape, factor: float = 1.0) -> nn.Module:
    """Multiply by a constant.

    Args:
        factor: the constant; behind the classifier, 1/9 keeps logits small at first (Jordan 2024).
    """
    return Scale(factor)


@layer(merge=True)
def add(shape: Shape) -> nn.Module:
    """Add what several layers give, such as a block and its shortcut (He et al. 2016)."""
    return Add()


@layer(merge=True)
def multiply(shape: Shape) -> nn.Module:
    """Multiply what several layers give; one value a map scales that map (Hu et al. 2018)."""
    return Multiply()


@layer(merge=True)
def concat(shape: Shape) -> nn.Module:
    """Put the maps of several layers one behind the other (Szegedy et al. 2015)."""
    return Concat()


@layer()
def flatten(shape: Shape) -> nn.Module:
    """Flatten maps to one vector; implicit before a dense layer."""
    return nn.Flatten()


@layer()
def identity(shape: Shape) -> nn.Module:
    """Pass everything on unchanged; gives an activation or a norm a place of its own."""
    return nn.Identity()


@layer()
def trainable_pool(shape: Shape, kernel_size: Size, stride: Size | None = None, ceil: bool = False) -> nn.Module:
    """Take the mean of each window, times a coefficient and plus a bias per map (LeNet-5; LeCun et al. 1998)."""
    return TrainablePool2d(_maps(shape), kernel_size, stride, ceil)


@layer(dense=True)
def rbf(shape: Shape, num_classes: int) -> nn.Module:
    """Give minus the squared distance to each digit's fixed bitmap (LeNet-5; LeCun et al. 1998)."""
    return RBFOutput(shape[0], num_classes)


@layer()
def fixed_filter(shape: Shape, kernel: str | list[list[float]], normalise: bool = False) -> nn.Module:
    """Apply an image kernel to every map, untrained.

    Args:
        kernel: sharpen, blur, edge_enhance, edge_detect, emboss, sobel_x, sobel_y, or the rows of a kernel of odd size.
        normalise: divide by the absolute value of the kernel's sum, where it is not 0, which keeps the brightness.
    """
    return FixedFilter2d(_maps(shape), kernel, normalise)


@layer()
def torchvision(
    shape: Shape, num_classes: int, arch: str, weights: str | None = None, small_stem: bool | None = None
) -> nn.Module:
    """Run a whole network of torchvision's zoo, its output and input fitted to the data's classes and channels.

    It is closed: nothing inside can be removed, resized or looked at. The networks alexnet_torchvision, vgg11, vgg16,
    vgg19, googlenet, squeezenet, resnet18, resnet34 and resnet50 have the same parameters and are open.

    Args:
        arch: its name in torchvision, such as resnet18.
        weights: pretrained weights to download, such as DEFAULT; none unless given.
        small_stem: replace a first convolution that strides, and the pool behind it, by one of 3x3 that does not; done
            for images below 64 pixels unless given.
    """
    return from_torchvision(arch, weights, shape, num_classes, small_stem)
