"""Sliding windows of convolutions and pools: sizes along each axis, and padding."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from cnnlab.models.merges import Shape

Edges = tuple[tuple[int, int], ...]  # numbers of zeros in front of and behind each axis


@dataclass(frozen=True)
class Window:
    """A sliding window; each field has one value per axis."""

    kernel: Shape
    stride: Shape
    dilation: Shape
    edges: Edges

    @property
    def reach(self) -> Shape:
        """Return how many values the window spans along each axis, dilation included."""
        return tuple((k - 1) * d + 1 for k, d in zip(self.kernel, self.dilation, strict=True))

    def padded(self, sizes: Sequence[int]) -> Shape:
        """Return sizes of axes, padding included."""
        return tuple(n + sum(edge) for n, edge in zip(sizes, self.edges, strict=True))


def window_of(module: nn.Module, shape: Shape | None) -> Window | None:
    """Return the window that a module slides over an input of a shape without the batch axis; None if it slides none.

    Of an adaptive pool the size is input / output, rounded up.
    """
    if shape is None or len(shape) < 2:
        return None
    axes = len(shape) - 1
    if hasattr(module, "output_size"):
        outputs = axes_of(module.output_size, axes)
        sizes = tuple(-(-n // o) for n, o in zip(shape[1:], outputs, strict=True))
        return Window(sizes, sizes, (1,) * axes, ((0, 0),) * axes)
    if not hasattr(module, "kernel_size"):
        return None
    kernel = axes_of(module.kernel_size, axes)
    options = (getattr(module, key, default) for key, default in (("stride", 1), ("dilation", 1), ("padding", 0)))
    stride, dilation, padding = options
    stride, dilation = axes_of(stride, axes) if stride else kernel, axes_of(dilation, axes)
    edges = getattr(module, "edges", ()) or edges_of(padding, shape[1:], kernel, stride, dilation)
    return Window(kernel, stride, dilation, edges)


def axes_of(value: Any, axes: int) -> Shape:
    """Expand a size of a torch module, one number or one per axis, to one per axis."""
    return (value,) * axes if isinstance(value, int) else tuple(value)


def edges_of(padding: Any, sizes: Sequence[int], kernel: Any, stride: Any = 1, dilation: Any = 1) -> Edges:
    """Return the zeros of a padding: a number, one per axis, "valid" or "same".

    With "same" a window has ceil(size / stride) positions along each axis, as with TensorFlow's SAME; an odd zero goes
    behind. `kernel`, `stride` and `dilation` are one number or one per axis.
    """
    axes = len(sizes)
    if padding != "same":
        return tuple((n, n) for n in axes_of(0 if padding == "valid" else padding, axes))
    needed = []
    for n, f, s, d in zip(sizes, *(axes_of(value, axes) for value in (kernel, stride, dilation)), strict=True):
        needed.append(max((-(-n // s) - 1) * s + (f - 1) * d + 1 - n, 0))
    return tuple((total // 2, total - total // 2) for total in needed)


def beyond(n: int, f: int, s: int) -> int:
    """Return how far the last window of size f and stride s extends beyond n values, where such windows are kept.

    As in torch, a window that would begin beyond the edge is dropped.
    """
    positions = -(-max(n - f, 0) // s) + 1
    positions -= (positions - 1) * s >= n
    return max((positions - 1) * s + f - n, 0)
