"""The layer table: output shape, parameters, multiply-adds and receptive field, measured on meta tensors."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add, sub
from typing import Any

import torch
from torch import nn

from cnnlab.models.cost import MultiplyAdds
from cnnlab.models.hooks import watch
from cnnlab.models.layers import KINDS
from cnnlab.models.merges import Shape, show
from cnnlab.models.windows import window_of

VIEWS = (nn.Flatten, nn.Identity, nn.Dropout)  # make no new values; dropout does not in evaluation mode


@dataclass(frozen=True)
class Row:
    """One layer of the table."""

    name: str
    kind: str
    sources: tuple[str, ...]  # the layers that it reads
    output_shape: Shape  # without the batch axis
    params: int  # trainable
    macs: int  # multiply-adds for one example
    memory: int  # bytes of its activations for one example in 32 bits, which training keeps for the backward pass
    receptive_field: int | Shape  # number of input values that one value depends on, along each axis
    frozen: int | None = None  # number of parameters that model.freeze fixes; None for a layer that is not frozen
    note: str = ""  # set where the stride does not divide evenly, so that trailing values are ignored


def class_layer(table: Sequence[Row]) -> str:
    """Return the name of the layer that gives the classes; others may follow, such as one that scales logits.

    In a network without a layer of such a kind, return the last.
    """
    return next((row.name for row in reversed(table) if KINDS[row.kind].gives_classes), table[-1].name)


@dataclass(frozen=True)
class Reach:
    """Receptive fields along each axis of the `image`: of value i, `size` pixels that begin at `first` + i * `step`.

    Pixels beyond the image are padding. The image may be a sentence, or the coordinates of a point.
    """

    image: Shape
    first: Shape
    size: Shape
    step: Shape

    @classmethod
    def start(cls, input_shape: Sequence[int]) -> "Reach":
        """Return the reach of the input: each pixel, word or coordinate depends on itself."""
        axes = tuple(input_shape[1:]) or tuple(input_shape)
        return cls(axes, (0,) * len(axes), (1,) * len(axes), (1,) * len(axes))

    def joined(self, other: "Reach") -> "Reach":
        """Return the union of two reaches."""
        first = tuple(map(min, self.first, other.first))
        ends = (map(add, reach.first, reach.size) for reach in (self, other))
        size = map(sub, map(max, *ends), first)
        return Reach(self.image, first, tuple(map(min, size, self.image)), tuple(map(max, self.step, other.step)))

    def through(self, module: nn.Module, incoming: dict[nn.Module, Shape]) -> "Reach":
        """Return the reach behind a module; `incoming` has the input shape of each of its parts."""
        if isinstance(module, nn.Sequential):
            for child in module:
                self = self.through(child, incoming)
            return self
        window = window_of(module, incoming.get(module))
        if window is None:
            return self
        grown = (s + (r - 1) * j for s, r, j in zip(self.size, window.reach, self.step, strict=True))
        return Reach(
            self.image,
            tuple(f - before * j for f, (before, _), j in zip(self.first, window.edges, self.step, strict=True)),
            tuple(min(g, i) for g, i in zip(grown, self.image, strict=True)),
            tuple(j * s for j, s in zip(self.step, window.stride, strict=True)),
        )


def measure(
    name: str, kind: str, unit: nn.Module, shapes: Mapping[str, Shape], reaches: Mapping[str, Reach]
) -> tuple[Row, Reach]:
    """Return the row of a layer whose module is on the meta device, and the reach behind it.

    Args:
        name, kind, unit: of the layer.
        shapes: of its inputs, by layer.
        reaches: of its inputs, by layer; may have others.

    Raises:
        ValueError: the input is smaller than a window, or torch's message on another shape that does not fit.
    """
    incoming: dict[nn.Module, Shape] = {}
    sizes: list[int] = []

    modules = dict(unit.named_modules())
    parts = {name: m for name, m in modules.items() if not isinstance(m, VIEWS) and not list(m.children())}

    def record_shape(name: str, inputs: tuple[Any, ...]) -> None:
        if isinstance(inputs[0], torch.Tensor):  # a dense block of torchvision takes a list
            incoming[modules[name]] = tuple(inputs[0].shape[1:])

    def record_size(name: str, inputs: Any, output: torch.Tensor) -> None:
        sizes.append(output.numel())

    counter = MultiplyAdds()
    dtype = torch.int64 if KINDS[kind].reads_words else None
    examples = [torch.empty(1, *shape, dtype=dtype, device="meta") for shape in shapes.values()]
    try:
        with (
            torch.no_grad(),
            counter,
            watch(modules, record_shape, before=True),
            watch(parts, record_size),
            warnings.catch_warnings(action="ignore"),  # torch's warnings concern training
        ):
            output: torch.Tensor = unit.eval()(*examples)
    except RuntimeError as error:
        raise ValueError(_too_small(incoming) or str(error)) from error
    if min(output.shape) < 1:
        raise ValueError(_too_small(incoming) or f"nothing is left of {show(examples[0].shape[1:])}")
    reach = reduce(Reach.joined, [reaches[source] for source in shapes])
    if output.ndim == 2:  # a vector depends on the whole input
        reach = Reach(reach.image, (0,) * len(reach.image), reach.image, reach.step)
    else:
        reach = reach.through(unit, incoming)
    params = sum(p.numel() for p in unit.parameters() if p.requires_grad)
    field = reach.size[0] if len(set(reach.size)) == 1 else reach.size
    shape, note = tuple(output.shape[1:]), _misfit(unit, incoming)
    return Row(name, kind, tuple(shapes), shape, params, counter.total, 4 * sum(sizes), field, note=note), reach


def _too_small(incoming: dict[nn.Module, Shape]) -> str | None:
    """Return '5x5 window on 4x4' where a window larger than its input made a module fail, else None."""
    for module, shape in incoming.items():
        window = window_of(module, shape)
        if window and any(r > n for r, n in zip(window.reach, window.padded(shape[1:]), strict=True)):
            before = tuple(edge[0] for edge in window.edges)
            padded = f" padded by {show(before)}" if any(before) else ""
            return f"{show(window.kernel)} window on {show(shape[1:])}{padded}"
    return None


def _misfit(unit: nn.Module, incoming: dict[nn.Module, Shape]) -> str:
    """Return the lectures' arithmetic, (N - F + 2P) / S + 1, where it gives no whole number, else ""."""
    for module in unit.children():
        shape = incoming.get(module, ())
        window = window_of(module, shape)
        keeps_rest = getattr(module, "ceil_mode", getattr(module, "ceil", None))  # None unless it is a pool
        if window is None or keeps_rest or hasattr(module, "output_size"):
            continue
        for n, f, s, (p, q) in zip(shape[1:], window.reach, window.stride, window.edges, strict=True):
            if (n - f + p + q) % s:
                zeros = f"2*{p}" if p == q else f"{p} + {q}"
                remedy = "" if keeps_rest is None else "; ceil: true keeps the rest"
                return f"does not fit: ({n} - {f} + {zeros}) / {s} + 1 = {(n - f + p + q) / s + 1:.2f}{remedy}"
    return ""
