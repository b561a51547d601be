"""Initialise weights by the name of a scheme, from random numbers that (seed, layer name) alone decide."""

import hashlib
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from math import isfinite, sqrt
from typing import Any

import torch
from torch import Tensor, nn

from cnnlab.models.conv_modules import Local, Whiten2d
from cnnlab.models.merges import show
from cnnlab.registry import pick


def _lecun(weight: Tensor, *, uniform: bool) -> None:
    """Draw with variance 1/fan_in (LeCun et al. 1998, "Efficient BackProp")."""
    std = 1 / sqrt(weight[0].numel())
    nn.init.uniform_(weight, -sqrt(3) * std, sqrt(3) * std) if uniform else nn.init.normal_(weight, std=std)


def _dirac(weight: Tensor) -> None:
    """Let the first filters pass each map on unchanged; leave the others as torch draws them (Jordan 2024)."""
    if weight.ndim > 2:
        nn.init.dirac_(weight[: weight.shape[1]])


SCHEMES: dict[str, Callable[[Tensor], object]] = {
    "he_normal": partial(nn.init.kaiming_normal_, nonlinearity="relu"),  # normal, variance 2 / fan_in (He et al. 2015)
    "he_uniform": partial(nn.init.kaiming_uniform_, nonlinearity="relu"),  # uniform, variance 2 / fan_in
    "xavier_normal": nn.init.xavier_normal_,  # normal, variance 2 / (fan_in + fan_out) (Glorot & Bengio 2010)
    "xavier_uniform": nn.init.xavier_uniform_,  # uniform, variance 2 / (fan_in + fan_out)
    "lecun_normal": partial(_lecun, uniform=False),  # normal, variance 1 / fan_in (LeCun et al. 1998)
    "lecun_uniform": partial(_lecun, uniform=True),  # uniform, variance 1 / fan_in
    "dirac": _dirac,  # the first filters pass each map on unchanged, the others are as torch draws them (Jordan 2024)
    "orthogonal": nn.init.orthogonal_,  # a random orthogonal matrix (Saxe et al. 2014)
}


def drawn_parts(module: nn.Module) -> list[nn.Conv1d | nn.Conv2d | nn.Conv3d | nn.Linear | Local]:
    """Return the convolutions and dense layers whose weights a scheme draws; those of whitening come from images."""
    drawn = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear, Local)
    return [part for part in module.modules() if isinstance(part, drawn) and not isinstance(part, Whiten2d)]


def initialise(module: nn.Module, scheme: str | None, given: Collection[str]) -> None:
    """Draw the weights of every convolution and dense layer and zero their biases; None keeps torch's defaults.

    Those of "weights" and "bias" that are `given` have their values in the model config and are left alone.
    """
    if scheme is None:
        return
    draw = pick(SCHEMES, scheme, "init")
    for part in drawn_parts(module):
        if "weights" not in given:
            for weight in part.filters() if isinstance(part, Local) else [part.weight]:
                draw(weight)
        if part.bias is not None and "bias" not in given:
            nn.init.zeros_(part.bias)


@torch.no_grad()
def start_from(module: Any, weights: Sequence[Any] | None, bias: bool | Sequence[float]) -> nn.Module:
    """Set a layer's initial values to those of its config; with weights but no values for the bias, that starts at 0.

    Args:
        module: a convolution or dense layer of torch.
        weights: nested lists of the weights' shape, or None to keep the drawn ones.
        bias: a number for each output value or map, or whether there is a bias.

    Raises:
        ValueError: a shape other than the layer's, or a value that is not a finite number.
    """
    for name, values, parameter in (("weights are", weights, module.weight), ("bias is", bias, module.bias)):
        if parameter is None or values is None or isinstance(values, bool):
            continue
        given, wanted = _shape(name, values), tuple(parameter.shape)
        if given != wanted:
            raise ValueError(f"{name} {show(given)} where the layer has {show(wanted)}")
        parameter.copy_(torch.tensor(values, dtype=parameter.dtype))
    if weights is not None and bias is True:
        nn.init.zeros_(module.bias)
    made: nn.Module = module
    return made


def _shape(name: str, values: Any) -> tuple[int, ...]:
    """Return the shape of nested lists of finite numbers."""
    if not isinstance(values, (list, tuple)):
        if isinstance(values, bool) or not isinstance(values, (int, float)) or not isfinite(values):
            raise ValueError(f"{name} nested lists of numbers, and {values!r} is none")
        return ()
    shapes = {_shape(name, value) for value in values}
    if len(shapes) > 1:
        raise ValueError(f"{name} nested lists, and in one of them not all are of the same length")
    return (len(values), *next(iter(shapes), ()))


@contextmanager
def layer_rng(seed: int, name: str) -> Iterator[None]:
    """Seed torch's CPU generator by (seed, name) alone; restore its state afterwards.

    A layer's initial weights do not depend on the other layers: networks that differ by a removal start equal in the
    layers they share.
    """
    digest = hashlib.sha256(f"{seed}/{name}".encode()).digest()
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(int.from_bytes(digest[:8], "big") >> 1)
        yield
