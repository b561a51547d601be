"""Build one layer of a network: flatten, the kind itself, norm, activation, dropout."""

import inspect
from collections.abc import Mapping, Sequence
from math import inf
from typing import Any, get_args, get_origin

import torch
from torch import nn

from cnnlab.models.activations import activation
from cnnlab.models.arrangement import Spec
from cnnlab.models.initialisation import initialise
from cnnlab.models.layers import KINDS
from cnnlab.models.merges import MergeUnit, Shape, merged
from cnnlab.registry import check_options, kind_and_options, pick

MODEL_WIDE = ("activation", "norm", "dropout", "init")
SIZES_OF_WIDTH = ("channels", "features")  # options that model.width multiplies
WIDEST = 1e9  # channels or features; smaller layers that exceed memory are refused elsewhere
NORMS = {"batch": "batchnorm", "layer": "layernorm", "group": "groupnorm", "instance": "instancenorm"}


def takes(spec: Mapping[str, Any], key: str) -> bool:
    """Tell whether a layer takes a model-wide choice: units do; dropout is for dense units only, as in AlexNet."""
    kind = KINDS[spec["kind"]]
    return key not in spec and (key == "init" or (kind.unit and (key != "dropout" or kind.dense)))


def complete_spec(spec: Mapping[str, Any], model: Mapping[str, Any], num_classes: int, words: int = 0) -> Spec:
    """Complete a layer's spec by the model-wide choices that it leaves open, its width, and what the data decide."""
    kind = pick(KINDS, spec["kind"], "kind")
    full: Spec = {**{key: model.get(key) for key in MODEL_WIDE if takes(spec, key)}, **spec}
    if kind.unit:
        for size in SIZES_OF_WIDTH:
            if isinstance(full.get(size), int):
                full[size] = widened(full[size], model.get("width", 1), full.get("groups", 1))
    if kind.gives_classes:
        full["num_classes"] = num_classes
    if kind.reads_words:
        full["words"] = words
    return full


def widened(size: int, width: Any, groups: Any = 1) -> int:
    """Multiply a number of channels or features by the model's width; round to a multiple of `groups`.

    Raises:
        ValueError: a width that is not a number above 0, or that makes more than WIDEST channels.
    """
    if not isinstance(width, (int, float)) or isinstance(width, bool) or not 0 < width < inf:
        raise ValueError(f"model.width must be a number above 0, not {width!r}")
    if width == 1 or not isinstance(groups, int) or groups < 1:  # the layer itself refuses such groups
        return size
    if size * width > WIDEST:
        raise ValueError(f"model.width={width} makes {size * width:.3g} channels of {size}; take a smaller one")
    return max(1, round(size * width / groups)) * groups


def make_unit(spec: Spec, shapes: Sequence[Shape]) -> nn.Sequential:
    """Build a layer from a spec that `complete_spec` has completed; `shapes` are those of its inputs."""
    options = {k: v for k, v in spec.items() if k not in ("kind", "from", *MODEL_WIDE)}
    kind, shape = KINDS[spec["kind"]], merged(spec["kind"], shapes)
    unit = MergeUnit() if kind.merge else nn.Sequential()
    if kind.dense and len(shape) > 1:
        unit.add_module("flatten", nn.Flatten())
        shape = (torch.Size(shape).numel(),)
    module = make_layer(spec["kind"], shape, options)
    unit.add_module(spec["kind"], module)
    channels = getattr(module, "out_channels", getattr(module, "out_features", shape[0]))
    initialise(unit, spec.get("init"), [key for key in ("weights", "bias") if isinstance(spec.get(key), (list, tuple))])
    if norm := spec.get("norm"):
        choice, options = kind_and_options(norm, "norm")
        unit.add_module("norm", make_layer(pick(NORMS, choice, "norm"), (channels, *shape[1:]), options))
    if spec.get("activation"):
        unit.add_module("activation", activation(spec["activation"], channels))
    if isinstance(spec.get("dropout"), str):
        raise ValueError(f"dropout is a share from 0 to 1, not {spec['dropout']!r}")
    if spec.get("dropout"):
        unit.add_module("dropout", nn.Dropout(spec["dropout"]))
    return unit


def make_layer(kind: str, shape: Shape, options: Mapping[str, Any]) -> nn.Module:
    """Make the module of a kind for an input shape, on torch's default device.

    Raises:
        ValueError: an unknown kind or option, or one that the module refuses.
    """
    entry = pick(KINDS, kind, "kind")
    parameters = list(inspect.signature(entry.make).parameters.values())[1:]
    defaults = {p.name: p.default for p in parameters}
    lists = {p.name for p in parameters if any(get_origin(form) is list for form in get_args(p.annotation))}
    lists &= {k for k, v in options.items() if isinstance(v, (list, tuple))}  # checked by the kind itself
    check_options(f"kind {kind}", options, {k: None if k in LEAST or k in lists else v for k, v in defaults.items()})
    for option, value in options.items():
        if option in lists:
            continue
        if option not in LEAST and isinstance(value, (list, tuple)) and isinstance(defaults[option], (int, float)):
            raise ValueError(f"{option} is one number, not {value!r}")
        if option not in LEAST or (value is None and defaults[option] is None):
            continue
        if not _at_least(LEAST[option], value):
            raise ValueError(f"{option} must be a whole number of at least {LEAST[option]}, not {value!r}")
        if isinstance(value, (list, tuple)) and len(value) != len(shape) - 1:
            raise ValueError(f"{option}={list(value)} for {len(shape) - 1} axes")
    missing = [p.name for p in parameters if p.default is p.empty and p.name not in options]
    if missing:
        raise ValueError(f"kind {kind} needs {' and '.join(missing)}")
    return entry.make(shape, **{k: tuple(v) if isinstance(v, list) else v for k, v in options.items()})


SIZES = ("channels", "features", "kernel_size", "stride", "dilation", "groups", "output_size")
LEAST = {**dict.fromkeys(SIZES, 1), "padding": 0}


def _at_least(least: int, value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return bool(value) and all(_at_least(least, v) for v in value)
    return (least == 0 and value in ("same", "valid")) or (
        isinstance(value, int) and not isinstance(value, bool) and value >= least
    )
