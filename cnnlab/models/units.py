"""A layer of a network with what it carries: flatten, the kind itself, norm, activation, dropout."""

from collections.abc import Mapping
from math import inf
from typing import Any

import torch
from torch import Tensor, nn

from cnnlab.models.activations import activation
from cnnlab.models.arrangement import Spec, arrange
from cnnlab.models.initialisation import initialise
from cnnlab.models.layers import KINDS, Shape, layer, make_layer
from cnnlab.models.modules import Conv2d
from cnnlab.registry import pick

MODEL_WIDE = ("activation", "norm", "dropout", "init")
SIZES_OF_WIDTH = ("channels", "features")  # what model.width multiplies
WIDEST = 1e9  # channels or features; what still does not fit memory is refused elsewhere
NORMS = {"batch": "batchnorm", "layer": "layernorm", "group": "groupnorm", "instance": "instancenorm"}


def takes(spec: Mapping[str, Any], key: str) -> bool:
    """Whether a layer takes a model-wide choice: units do, dropout those alone that are dense, as in AlexNet."""
    kind = KINDS[spec["kind"]]
    return key not in spec and (key == "init" or (kind.unit and (key != "dropout" or kind.dense)))


def complete_spec(spec: Mapping[str, Any], model: Mapping[str, Any], num_classes: int) -> Spec:
    """A layer's description with the model-wide choices it leaves open, its width, and the class count filled in."""
    kind = pick(KINDS, spec["kind"], "kind")
    full: Spec = {**{key: model.get(key) for key in MODEL_WIDE if takes(spec, key)}, **spec}
    if "layers" in kind.options:
        inner = arrange(full.get("layers"), "layers")
        full["layers"] = {name: complete_spec(s, model, num_classes) for name, s in inner.items()}
    if kind.unit:
        for size in SIZES_OF_WIDTH:
            if isinstance(full.get(size), int):
                full[size] = widened(full[size], model.get("width", 1), full.get("groups", 1))
    if kind.gives_classes:
        full["num_classes"] = num_classes
    return full


def widened(size: int, width: Any, groups: Any = 1) -> int:
    """A number of channels or features times the model's width, a multiple of the groups.

    Raises:
        ValueError: a width that is not a number above 0, or that makes more channels than can be counted.
    """
    if not isinstance(width, (int, float)) or isinstance(width, bool) or not 0 < width < inf:
        raise ValueError(f"model.width must be a number above 0, not {width!r}")
    if width == 1 or not isinstance(groups, int) or groups < 1:  # the layer itself refuses such groups
        return size
    if size * width > WIDEST:
        raise ValueError(f"model.width={width} makes {size * width:.3g} channels of {size}; take a smaller one")
    return max(1, round(size * width / groups)) * groups


def make_unit(spec: Spec, shape: Shape) -> nn.Sequential:
    """One layer with what it carries: flatten, the kind itself, norm, activation, dropout, each where wanted."""
    options = {k: v for k, v in spec.items() if k not in ("kind", *MODEL_WIDE)}
    unit = nn.Sequential()
    if KINDS[spec["kind"]].dense and len(shape) > 1:
        unit.add_module("flatten", nn.Flatten())
        shape = (torch.Size(shape).numel(),)
    module = make_layer(spec["kind"], shape, options)
    unit.add_module(spec["kind"], module)
    channels = getattr(module, "out_channels", getattr(module, "out_features", shape[0]))
    initialise(unit, spec.get("init"))
    if norm := spec.get("norm"):
        options = dict(norm) if isinstance(norm, Mapping) else {"kind": norm}
        kind = pick(NORMS, options.pop("kind", None), "norm")
        unit.add_module("norm", make_layer(kind, (channels, *shape[1:]), options))
    if spec.get("activation"):
        unit.add_module("activation", activation(spec["activation"], channels))
    if isinstance(spec.get("dropout"), str):
        raise ValueError(f"dropout is a share from 0 to 1, not {spec['dropout']!r}")
    if spec.get("dropout"):
        unit.add_module("dropout", nn.Dropout(spec["dropout"]))
    return unit


class Residual(nn.Module):
    """x + f(x) (He et al. 2016); where f changes the shape, x goes through a 1x1 convolution with f's stride."""

    def __init__(self, body: nn.Sequential, shape: Shape, after: Shape) -> None:
        super().__init__()
        self.body = body
        self.out_channels = after[0]
        self.shortcut: nn.Module = nn.Identity()
        if after != shape:
            height, width = (-(-n // m) for n, m in zip(shape[1:], after[1:], strict=True))
            self.shortcut = Conv2d(shape[0], after[0], 1, (height, width), bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to what the body gives."""
        out: Tensor = self.shortcut(x) + self.body(x)
        return out


@layer()
def residual(shape: Shape, layers: Mapping[str, Any]) -> nn.Module:
    """Add what comes in to what a chain of layers gives (He et al. 2016); an activation comes behind the sum.

    Args:
        layers: names and layers of the chain, written as a network's own.
    """
    body, inner = nn.Sequential(), shape
    for name, spec in layers.items():
        unit = make_unit(spec, inner)
        with torch.device("meta"):
            probe = make_unit(spec, inner).eval()
            inner = tuple(probe(torch.empty(1, *inner)).shape[1:])
        body.add_module(name, unit)
    return Residual(body, shape, inner)
