"""The shipped layer kinds: dense, norm, dropout and merge layers; the others are imported from files of their own.

Args:
    features: number of output values.
    bias: add a trained bias to each output value.
    weights: nested lists of initial weights, outputs first; drawn at random by default.
    p: probability that a value or map is zeroed in training.
"""

from typing import Any

from torch import nn

from cnnlab.models import convolutions, pools, sentences, zoo
from cnnlab.models.initialisation import start_from
from cnnlab.models.kinds import KINDS, Kind, by_rank, layer
from cnnlab.models.merges import Add, Concat, Multiply, Shape
from cnnlab.models.modules import RBFOutput, Scale

__all__ = ["KINDS", "Kind", "Shape", "convolutions", "layer", "pools", "sentences", "zoo"]


@layer(unit=True, dense=True)
def linear(shape: Shape, features: int, bias: bool | list[float] = True, weights: list[Any] | None = None) -> nn.Module:
    """Multiply by a weight matrix: a dense layer.

    Args:
        bias: add a trained bias to each output value; or the initial biases, one per value.
    """
    return start_from(nn.Linear(shape[0], features, bias is not False), weights, bias)


@layer(dense=True)
def classifier(
    shape: Shape, num_classes: int, bias: bool | list[float] = True, weights: list[Any] | None = None
) -> nn.Module:
    """End a network in a dense layer of one logit per class; the number of classes comes from the data.

    Args:
        bias: add a trained bias to each output value; or the initial biases, one per value.
    """
    return start_from(nn.Linear(shape[0], num_classes, bias is not False), weights, bias)


@layer()
def batchnorm(shape: Shape, eps: float = 1e-5, momentum: float = 0.1) -> nn.Module:
    """Normalise each map or feature over the batch (Ioffe & Szegedy 2015).

    Args:
        eps: added to the variance.
        momentum: share of the newest batch in the mean and variance that evaluation uses.
    """
    return (nn.BatchNorm1d, nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)[len(shape) - 1](shape[0], eps, momentum)


@layer()
def layernorm(shape: Shape) -> nn.Module:
    """Normalise over all maps of an example together, scaled per map (Ba et al. 2016)."""
    return nn.GroupNorm(1, shape[0]) if len(shape) > 1 else nn.LayerNorm(shape)


@layer()
def groupnorm(shape: Shape, groups: int = 8) -> nn.Module:
    """Normalise over groups of an example's maps (Wu & He 2018).

    Args:
        groups: number of groups; the next smaller one that divides the number of maps, where it does not.
    """
    return nn.GroupNorm(next(g for g in range(min(groups, shape[0]), 0, -1) if shape[0] % g == 0), shape[0])


@layer()
def instancenorm(shape: Shape) -> nn.Module:
    """Normalise each map of an example by itself, scaled per map (Ulyanov et al. 2016)."""
    return by_rank(shape, nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d)(shape[0], affine=True)


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
    """Zero single values at random in training (Srivastava et al. 2014)."""
    return nn.Dropout(p)


@layer()
def channel_dropout(shape: Shape, p: float = 0.5) -> nn.Module:
    """Zero whole maps at random in training (Tompson et al. 2015)."""
    return by_rank(shape, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)(p)


@layer()
def scale(shape: Shape, factor: float = 1.0) -> nn.Module:
    """Multiply by a constant.

    Args:
        factor: the constant; behind the classifier, 1/9 keeps logits small at first (Jordan 2024).
    """
    return Scale(factor)


@layer(merge=True)
def add(shape: Shape) -> nn.Module:
    """Add the outputs of several layers, such as a block and its shortcut (He et al. 2016)."""
    return Add()


@layer(merge=True)
def multiply(shape: Shape) -> nn.Module:
    """Multiply the outputs of several layers; one value per map scales that map (Hu et al. 2018)."""
    return Multiply()


@layer(merge=True)
def concat(shape: Shape) -> nn.Module:
    """Concatenate the maps of several layers (Szegedy et al. 2015)."""
    return Concat()


@layer()
def flatten(shape: Shape) -> nn.Module:
    """Flatten maps to one vector; implicit before a dense layer."""
    return nn.Flatten()


@layer()
def identity(shape: Shape) -> nn.Module:
    """Pass the input on unchanged; makes an activation or a norm a layer of its own."""
    return nn.Identity()


@layer(dense=True)
def rbf(shape: Shape, num_classes: int) -> nn.Module:
    """Compute minus the squared distance to each digit's fixed bitmap (LeNet-5; LeCun et al. 1998)."""
    return RBFOutput(shape[0], num_classes)
