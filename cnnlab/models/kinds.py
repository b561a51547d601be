"""What a layer kind is, and the table in which the decorator `layer` registers each: kind -> module.

A kind is one function. Its first argument is the incoming shape (without the batch axis; for a merge, the merged one),
the others are the options a layer of `conf/model/*.yaml` may give; their defaults are the layer's defaults. To add a
kind, add a function; those that ship stand in `convolutions.py`, `pools.py`, `sentences.py`, `zoo.py` and `layers.py`.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from cnnlab.models.merges import Shape, show

Size = int | tuple[int, ...]


@dataclass(frozen=True)
class Kind:
    """How to make one kind of layer."""

    make: Callable[..., nn.Module]
    unit: bool  # a unit of the lectures: carries its norm, activation and dropout
    dense: bool  # wants a vector: what comes in is flattened first
    merge: bool  # reads several layers, not one

    @property
    def options(self) -> list[str]:
        """The options a layer of this kind may give."""
        return list(inspect.signature(self.make).parameters)[1:]

    @property
    def gives_classes(self) -> bool:
        """Whether a layer of this kind gives one value a class."""
        return "num_classes" in self.options

    @property
    def reads_words(self) -> bool:
        """Whether a layer of this kind reads ids of words."""
        return "words" in self.options


KINDS: dict[str, Kind] = {}


def layer(
    *, unit: bool = False, dense: bool = False, merge: bool = False
) -> Callable[[Callable[..., nn.Module]], Callable[..., nn.Module]]:
    """Register the decorated function as the kind of its name."""

    def register(make: Callable[..., nn.Module]) -> Callable[..., nn.Module]:
        KINDS[make.__name__] = Kind(make, unit, dense, merge)
        return make

    return register


def by_rank(shape: Shape, *modules: Callable[..., nn.Module]) -> Callable[..., nn.Module]:
    """Return the 1-D, 2-D or 3-D module for an input of channels and so many axes.

    Raises:
        ValueError: there is none for so many.
    """
    if not 2 <= len(shape) <= 1 + len(modules):
        axes = ("one axis", "one or two axes", "one to three axes")[len(modules) - 1]
        raise ValueError(f"needs channels and {axes}, got {show(shape)}")
    return modules[len(shape) - 2]


def maps(shape: Shape) -> int:
    """Return the channels of a (channels, height, width) input.

    Raises:
        ValueError: it has other axes.
    """
    if len(shape) != 3:
        raise ValueError(f"needs channels, height and width, got {show(shape)}")
    return shape[0]
