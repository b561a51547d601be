"""Modules that make one tensor of several, and what their shapes must have in common."""

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
        """Several (N, ...) to the same shape."""
        return reduce(add, values)


class Multiply(nn.Module):
    """The product of tensors whose shapes broadcast, such as maps and one factor for each of them."""

    def forward(self, *values: Tensor) -> Tensor:
        """Several (N, ...) to the largest shape."""
        return reduce(mul, values)


class Concat(nn.Module):
    """Maps, or values, one behind the other."""

    def forward(self, *values: Tensor) -> Tensor:
        """Several (N, C_i, ...) to (N, sum of C_i, ...)."""
        return torch.cat(values, 1)


class MergeUnit(nn.Sequential):
    """A layer that reads several, with what it carries behind the merge."""

    def forward(self, *values: Tensor) -> Tensor:
        """What the merge makes of the values, through norm, activation and dropout."""
        merge, *carried = self
        value: Tensor = merge(*values)
        for module in carried:
            value = module(value)
        return value


def merged(kind: str, shapes: Sequence[Shape]) -> Shape:
    """Return the shape that a layer's inputs have together."""
    channels = sum(shape[0] for shape in shapes) if kind == "concat" else max(shape[0] for shape in shapes)
    return channels, *(max(sizes) for sizes in zip(*(shape[1:] for shape in shapes), strict=True))


def misfits(kind: str, shapes: Mapping[str, Shape]) -> list[str]:
    """Return which inputs of a merge (add, multiply or concat) do not fit to its first, of their shapes by layer."""
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
    """Refuse to merge what does not fit.

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
    """Let what a merge reads fit: projections by 1x1 convolutions (He et al. 2016), or by dense layers, come before it.

    All that it reads gets the smallest height and width among them; for a sum or product, also the channels of the
    first.

    Args:
        name: of the layer.
        spec: arranged; it reads the projections afterwards.
        shapes: of what all layers before it give.

    Returns the projections, by name; none where all fits, or where the layer is no merge.

    Raises:
        ValueError: maps and vectors, or sizes that no stride brings together.
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
    """A shape as tables have it: 6x28x28; without axes "one number"."""
    return "x".join(map(str, shape)) or "one number"
