"""The layer table: what each layer gives, holds, computes and sees, measured on meta tensors."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Row:
    """One layer of the table."""

    name: str
    kind: str
    output_shape: Shape  # without the batch axis
    params: int  # trainable
    macs: int  # multiply-adds for one image
    receptive_field: int | Shape  # pixels of the image one value depends on, along each axis


@dataclass(frozen=True)
class Reach:
    """How far one value sees: `size` pixels of the `image` along each axis, `step` pixels between neighbours."""

    image: Shape
    size: Shape
    step: Shape

    @classmethod
    def start(cls, input_shape: Sequence[int]) -> "Reach":
        """A pixel sees itself."""
        axes = tuple(input_shape[1:])
        return cls(axes, (1,) * len(axes), (1,) * len(axes))

    def through(self, module: nn.Module) -> "Reach":
        """What a value sees behind a module."""
        if isinstance(module, (nn.Flatten, nn.Linear, nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d)):
            return Reach(self.image, self.image, self.step)
        if not hasattr(module, "kernel_size"):
            return self
        kernel, stride, dilation = (
            axes_of(getattr(module, key, 1), len(self.image)) for key in ("kernel_size", "stride", "dilation")
        )
        grown = tuple(s + (k - 1) * d * j for s, k, d, j in zip(self.size, kernel, dilation, self.step, strict=True))
        return Reach(
            self.image,
            tuple(min(g, i) for g, i in zip(grown, self.image, strict=True)),
            tuple(j * s for j, s in zip(self.step, stride, strict=True)),
        )


def axes_of(value: Any, axes: int) -> Shape:
    """A size as torch's modules hold it, one number or one an axis, as one an axis."""
    return (value,) * axes if isinstance(value, int) else tuple(value)


def measure(name: str, kind: str, unit: nn.Module, shape: Shape, reach: Reach) -> tuple[Row, Reach]:
    """The row of a layer built on the meta device, and the reach behind it.

    Raises:
        ValueError: the incoming shape is too small for a window.
        RuntimeError: torch's own word on a shape that does not fit.
    """
    unit.eval()
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        try:
            output = unit(torch.empty(1, *shape, device="meta"))
        except RuntimeError as error:
            raise ValueError(_window(unit.modules(), shape) or str(error)) from error
    if min(output.shape) < 1:
        raise ValueError(_window(unit.modules(), shape) or f"nothing is left of {_times(shape)}")
    for module in unit.modules():
        reach = reach.through(module)
    params = sum(p.numel() for p in unit.parameters() if p.requires_grad)
    field = reach.size[0] if len(set(reach.size)) == 1 else reach.size
    macs = counter.get_total_flops() // 2
    return Row(name, kind, tuple(output.shape[1:]), params, macs, field), reach


def _window(modules: Iterable[nn.Module], shape: Shape) -> str | None:
    """'5x5 window on 4x4', where that is why a module failed."""
    for module in modules:
        if hasattr(module, "kernel_size") and len(shape) > 1:
            kernel = axes_of(module.kernel_size, len(shape) - 1)
            padding = getattr(module, "padding", 0)
            added = axes_of(padding if not isinstance(padding, str) else 0, len(shape) - 1)
            dilation = axes_of(getattr(module, "dilation", 1), len(shape) - 1)
            if any((k - 1) * d + 1 > n + 2 * p for k, d, n, p in zip(kernel, dilation, shape[1:], added, strict=True)):
                padded = f" padded by {_times(added)}" if any(added) else ""
                return f"{_times(kernel)} window on {_times(shape[1:])}{padded}"
    return None


def _times(sizes: Sequence[int]) -> str:
    return "x".join(map(str, sizes))
