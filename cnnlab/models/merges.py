"""Merge several tensors into one: modules, checks of shapes, and projections that make shapes fit."""

from collections.abc import Mapping, Sequence
from functools import reduce
from operator import add, mul
from typing import Any

import torch
from torch import Tensor, nn

Shape = tuple[int, ...]


class Add(nn.Module):
    """The sum of tensors of one shape."""

    def forward(self, *values: Tensor) -> Tensor:
        """Add several (N, ...) of one shape."""
        return reduce(add, values)


class Multiply(nn.Module):
    """The product of tensors whose shapes broadcast, such as maps and one factor for each of them."""

    def forward(self, *values: Tensor) -> Tensor:
        """Multiply several (N, ...), broadcast to the largest shape."""
        return reduce(mul, values)


class Concat(nn.Module):
    """The concatenation of maps, or of values, along the channels."""

    def forward(self, *values: Tensor) -> Tensor:
        """Concatenate several (N, C_i, ...) to (N, sum of C_i, ...)."""
        return torch.cat(values, 1)


class MergeUnit(nn.Sequential):
    """A merge, followed by the layer's norm, activation and dropout."""

    def forward(self, *values: Tensor) -> Tensor:
        """Merge the inputs, then apply norm, activation and dropout."""
        merge, *others = self
        value: Tensor = merge(*values)
        for module in others:
            value = module(value)
        return value


def merged(kind: str, shapes: Sequence[Shape]) -> Shape:
    """Return the shape of a layer's inputs after merging."""
    channels = sum(shape[0] for shape in shapes) if kind == "concat" else max(shape[0] for shape in shapes)
    return channels, *(max(sizes) for sizes in zip(*(shape[1:] for shape in shapes), strict=True))


def misfits(kind: str, shapes: Mapping[str, Shape]) -> list[str]:
    """Return the inputs of a merge (add, multiply or concat) whose shapes, given by layer, do not fit the first's."""
    first, *others = shapes
    return [other for other in others if not _fits(kind, shapes[first], shapes[other])]


def _fits(kind: str, first: Shape, other: Shape) -> bool:
    if len(first) != len(other):
        return False
    if kind == "concat":
        return first[1:] == other[1:]
    return first == other or (
        kind == "multiply" and all(1 in (a, b) or a == b for a, b in zip(first, other, strict=True))
    )


def refuse_misfit(name: str, kind: str, shapes: Mapping[str, Shape]) -> None:
    """Refuse to merge inputs whose shapes do not fit.

    Raises:
        ValueError: names two layers, their shapes and the remedy.
    """
    if others := misfits(kind, shapes):
        (first, shape), other = next(iter(shapes.items())), others[0]
        block = f"remove the block ({name.rpartition('_')[0]}_*) or " if "_" in name else ""
        raise ValueError(
            f"{kind} of {first}, {show(shape)}, and {other}, {show(shapes[other])}; {block}insert a 1x1 convolution, "
            "which model.repair=true does"
        )


def repair(name: str, spec: dict[str, Any], shapes: Mapping[str, Shape]) -> dict[str, dict[str, Any]]:
    """Make the inputs of a merge fit by projections: 1x1 convolutions (He et al. 2016), or dense layers.

    All inputs get the smallest height and width among them; for a sum or product, also the channels of the first.

    Args:
        name: of the merge.
        spec: its arranged spec; reads the projections afterwards.
        shapes: output shapes of all layers before it.

    Returns the specs of the projections by name; none where the shapes fit, or where the layer is no merge.

    Raises:
        ValueError: maps and vectors cannot be merged, or no stride makes the sizes equal.
    """
    read = {source: shapes[source] for source in spec["from"]}
    if len(read) == 1 or not misfits(spec["kind"], read):
        return {}
    if len({len(shape) for shape in read.values()}) > 1:
        raise ValueError(f"{' and '.join(f'{n}, {show(shape)},' for n, shape in read.items())} cannot be made to fit")
    first, *_ = read.values()
    target = tuple(min(sizes) for sizes in zip(*(shape[1:] for shape in read.values()), strict=True))
    block, added, sources = name.rpartition("_")[0] or name, dict[str, dict[str, Any]](), []
    for source, shape in read.items():
        channels = shape[0] if spec["kind"] == "concat" else first[0]
        sources.append(source)
        if shape == (channels, *target):
            continue
        stride = [-(-n // m) for n, m in zip(shape[1:], target, strict=True)]
        if tuple((n - 1) // s + 1 for n, s in zip(shape[1:], stride, strict=True)) != target:
            raise ValueError(f"no stride brings {source}, {show(shape)}, to {show(target)}")
        sources[-1] = f"{block}_repair" + str(len(added) + 1) * bool(added)
        added[sources[-1]] = {
            **(
                {"kind": "conv", "channels": channels, "kernel_size": 1, "stride": stride}
                if target
                else {"kind": "linear", "features": channels, "dropout": None}
            ),
            "from": [source],
            "activation": None,
        }
    spec["from"] = sources
    return added


def show(shape: Sequence[int]) -> str:
    """Format a shape for tables and messages: 6x28x28; without axes "one number"."""
    return "x".join(map(str, shape)) or "one number"
