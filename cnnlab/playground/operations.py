"""Describe torch modules as the operations that the page's engine computes (`engine/operations.js`)."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from cnnlab.models import activations as own
from cnnlab.models.conv_modules import Conv1d, Conv2d, Local, SparseConv2d, Whiten2d
from cnnlab.models.merges import Add, Concat, MergeUnit, Multiply
from cnnlab.models.modules import FixedFilter2d, LPPool, RBFOutput, Scale, TrainablePool
from cnnlab.models.windows import Edges, axes_of, edges_of

Op = dict[str, Any]  # "op", its options, and tensors, which become indices in the store


class NotComputedError(ValueError):
    """A module that the page's engine does not know."""


def operations_of(module: nn.Module, inputs: list[Tensor]) -> tuple[list[Op], Tensor]:
    """Describe a module in evaluation mode, a layer or a part of one, on inputs (1, ...).

    Returns the operations, each with the `shape` of its output and its `part` of the layer, and the module's output.

    Raises:
        NotComputedError: the page cannot compute the module.
    """
    if type(module) in (nn.Sequential, MergeUnit):
        ops, values = list[Op](), inputs
        for name, child in module.named_children():
            found, value = operations_of(child, values)
            ops += [{"part": name} | op for op in found]
            values = [value]
        return ops, values[0]
    describe = DESCRIPTIONS.get(type(module))
    if describe is None or module._forward_hooks or module._forward_pre_hooks:
        raise NotComputedError(f"the page cannot compute {type(module).__module__}.{type(module).__name__}")
    output: Tensor = module(*inputs)
    shape = list(output.shape[1:])
    return [op | {"shape": shape} for op in describe(module, inputs[0].ndim - 2)], output


def _convolution(module: Any, axes: int) -> list[Op]:
    correlates = getattr(module, "correlate", True)
    return [
        _convolution_of(
            module.weight if correlates else module.weight.flip(tuple(range(2, axes + 2))),
            module.bias,
            stride=module.stride,
            padding=module.padding,
            dilation=module.dilation,
            groups=module.groups,
            mode=module.padding_mode,
            edges=getattr(module, "edges", ()),
        )
    ]


def _convolution_of(
    weight: Tensor,
    bias: Tensor | None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    mode: str = "zeros",
    edges: Edges = (),
) -> Op:
    axes = weight.ndim - 2
    kernel, steps = weight.shape[2:], axes_of(dilation, axes)
    edges = edges or edges_of(padding, (1,) * axes, kernel, dilation=steps)  # torch's "same" implies stride 1
    return {
        "op": "convolution",
        "weight": weight,
        "bias": bias,
        "kernel": _two(kernel, 1),
        "stride": _two(axes_of(stride, axes), 1),
        "dilation": _two(steps, 1),
        "padding": _around(edges),
        "groups": groups,
        "mode": mode,
    }


def _around(edges: Edges) -> list[int]:
    """Return the padding at the top, bottom, left and right."""
    return [n for edge in ((0, 0),) * (2 - len(edges)) + edges for n in edge]


def _local(module: Local, axes: int) -> list[Op]:
    if axes > 2:
        raise NotComputedError("the page cannot compute a local layer of three axes")
    return [
        {
            "op": "local",
            "weight": module.weight.flatten(0, axes).flatten(1),  # a row for each output value
            "bias": module.bias,
            "kernel": _two(module.kernel_size, 1),
            "stride": _two(module.stride, 1),
            "padding": _around(module.edges),
        }
    ]


def _sparse(module: SparseConv2d, axes: int) -> list[Op]:
    full = module.weight.new_zeros(module.out_channels, module.in_channels, *module.kernel_size)
    full = full.index_put((module.targets, module.sources), module.weight)
    return [_convolution_of(full, module.bias, module.stride, module.padding)]


def _fixed(module: FixedFilter2d, axes: int) -> list[Op]:
    weight = module.kernel.expand(module.channels, 1, *module.kernel_size)
    return [_convolution_of(weight, None, padding=module.padding, groups=module.channels)]


def _dense(module: nn.Linear, axes: int) -> list[Op]:
    return [{"op": "dense", "weight": module.weight, "bias": module.bias}]


def _window(module: Any, axes: int) -> Op:
    kernel = axes_of(module.kernel_size, axes)
    stride = axes_of(module.stride, axes) if module.stride else kernel
    padding = axes_of(getattr(module, "padding", 0), axes)
    return {"kernel": _two(kernel, 1), "stride": _two(stride, 1), "padding": _two(padding, 0)}


def _maxpool(module: Any, axes: int) -> list[Op]:
    if set(axes_of(module.dilation, axes)) != {1} or module.return_indices:
        raise NotComputedError("the page cannot compute a maximum over a dilated window, or one that gives indices")
    return [{"op": "maxpool", **_window(module, axes)}]


def _avgpool(module: Any, axes: int) -> list[Op]:
    divisor = getattr(module, "divisor_override", None)
    return [{"op": "avgpool", **_window(module, axes), "divisor": divisor, "count_padding": module.count_include_pad}]


def _trainable_pool(module: TrainablePool, axes: int) -> list[Op]:
    mean = {"op": "avgpool", **_window(module, axes), "divisor": None, "count_padding": True}
    return [mean, {"op": "affine", "factor": module.coefficient, "bias": module.bias}]


def _adaptive(op: str) -> Callable[[Any, int], list[Op]]:
    return lambda module, axes: [{"op": op, "adaptive": True, "divisor": None, "count_padding": False}]


def _batchnorm(module: Any, axes: int) -> list[Op]:
    if module.running_mean is None:
        raise NotComputedError("the page cannot compute batch statistics of one picture")
    factor = 1 / (module.running_var.double() + module.eps).sqrt()
    bias = torch.zeros_like(module.running_mean) if module.bias is None else module.bias
    weight = 1 if module.weight is None else module.weight.double()
    return [{"op": "batchnorm", "mean": module.running_mean, "factor": factor * weight, "bias": bias}]


def _groupnorm(module: Any, axes: int) -> list[Op]:
    groups = {nn.GroupNorm: "num_groups", nn.LayerNorm: None}.get(type(module), "num_features")
    if isinstance(module, nn.LayerNorm) and (axes or len(module.normalized_shape) > 1):
        raise NotComputedError("the page cannot compute nn.LayerNorm of maps, only of vectors")
    if getattr(module, "track_running_stats", False):
        raise NotComputedError("the page cannot compute nn.InstanceNorm with running statistics")
    count = getattr(module, groups) if groups else 1
    bias = module.bias if module.bias is not None or module.weight is None else torch.zeros_like(module.weight)
    return [{"op": "groupnorm", "groups": count, "eps": module.eps, "weight": module.weight, "bias": bias}]


def _lrn(module: nn.LocalResponseNorm, axes: int) -> list[Op]:
    return [{"op": "lrn", **{name: getattr(module, name) for name in ("size", "alpha", "beta", "k")}}]


def _activation(kind: str, *options: str, learned: tuple[str, ...] = ()) -> Callable[[Any, int], list[Op]]:
    def describe(module: Any, axes: int) -> list[Op]:
        op = {"op": "activation", "kind": kind} | {name: getattr(module, name) for name in options}
        return [op | ({"learned": {name: getattr(module, name) for name in learned}} if learned else {})]

    return describe


def _leaky(module: Any, axes: int) -> list[Op]:
    slope = module.negative_slope if isinstance(module, nn.LeakyReLU) else (module.lower + module.upper) / 2
    return [{"op": "activation", "kind": "leaky_relu", "slope": slope}]


def _apl(module: own.APL, axes: int) -> list[Op]:
    learned = {"a": module.a, "b": module.b}
    return [{"op": "activation", "kind": "apl", "pieces": len(module.a), "learned": learned}]


def _two(sizes: Any, before: int) -> list[int]:
    """Extend sizes of one axis to two: a row of values is a map of height 1."""
    return [before] * (2 - len(sizes)) + [int(n) for n in sizes]


def _same(op: str, *options: str) -> Callable[[Any, int], list[Op]]:
    return lambda module, axes: [{"op": op, **{name: getattr(module, name) for name in options}}]


def _nothing(module: Any, axes: int) -> list[Op]:
    return []


DESCRIPTIONS: dict[type[nn.Module], Callable[[Any, int], list[Op]]] = {
    **dict.fromkeys((nn.Conv1d, nn.Conv2d, Conv1d, Conv2d, Whiten2d), _convolution),
    Local: _local,
    SparseConv2d: _sparse,
    FixedFilter2d: _fixed,
    nn.Linear: _dense,
    **dict.fromkeys((nn.MaxPool1d, nn.MaxPool2d), _maxpool),
    **dict.fromkeys((nn.AvgPool1d, nn.AvgPool2d), _avgpool),
    LPPool: lambda module, axes: [{"op": "lppool", **_window(module, axes), "p": module.p}],
    **dict.fromkeys((nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d), _adaptive("avgpool")),
    **dict.fromkeys((nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d), _adaptive("maxpool")),
    TrainablePool: _trainable_pool,
    **dict.fromkeys((nn.BatchNorm1d, nn.BatchNorm2d), _batchnorm),
    **dict.fromkeys((nn.GroupNorm, nn.LayerNorm, nn.InstanceNorm1d, nn.InstanceNorm2d), _groupnorm),
    nn.LocalResponseNorm: _lrn,
    RBFOutput: _same("rbf", "codes"),
    Scale: _same("scale", "factor"),
    Add: _same("add"),
    Multiply: _same("multiply"),
    Concat: _same("concat"),
    nn.Flatten: _same("copy"),
    **dict.fromkeys((nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d), _nothing),
    own.APL: _apl,
    own.BentIdentity: _activation("bent_identity"),
    nn.ELU: _activation("elu", "alpha"),
    nn.GELU: lambda module, axes: [{"op": "activation", "kind": "gelu", "tanh": module.approximate == "tanh"}],
    nn.Hardswish: _activation("hardswish"),
    own.ISRLU: _activation("isrlu", "alpha"),
    **dict.fromkeys((nn.LeakyReLU, nn.RReLU), _leaky),
    nn.Mish: _activation("mish"),
    nn.PReLU: lambda module, axes: [{"op": "activation", "kind": "prelu", "learned": {"slopes": module.weight}}],
    nn.ReLU: _activation("relu"),
    nn.ReLU6: _activation("relu6"),
    own.ScaledTanh: _activation("scaled_tanh"),
    nn.SELU: _activation("selu"),
    nn.Sigmoid: _activation("sigmoid"),
    nn.SiLU: _activation("silu"),
    nn.Softplus: _activation("softplus", "beta", "threshold"),
    own.SoftPP: _activation("softpp", "k", "c"),
    own.SReLU: _activation("srelu", learned=("t_l", "a_l", "t_r", "a_r")),
    nn.Tanh: _activation("tanh"),
}
