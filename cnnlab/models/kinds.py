"""Registry of layer kinds: the decorator `layer` registers a function that makes a module.

Its first argument is the input shape (without the batch axis; for a merge, the merged shape), the others are the
options that a layer of `conf/model/*.yaml` may have, with their defaults. To add a kind, add a function; those that
ship are in `convolutions.py`, `pools.py`, `sentences.py`, `zoo.py` and `layers.py`.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from cnnlab.models.merges import Shape, show

Size = int | tuple[int, ...]


@dataclass(frozen=True)
class Kind:
    """A registered layer kind."""

    make: Callable[..., nn.Module]
    unit: bool  # a unit of the lectures: takes a norm, an activation and dropout
    dense: bool  # takes a vector: its input is flattened first
    merge: bool  # reads several layers, not one

    @property
    def options(self) -> list[str]:
        """Return the names of the options that a layer of this kind may have."""
        return list(inspect.signature(self.make).parameters)[1:]

    @property
    def gives_classes(self) -> bool:
        """Tell whether a layer of this kind gives one value per class."""
        return "num_classes" in self.options

    @property
    def reads_words(self) -> bool:
        """Tell whether a layer of this kind reads word ids."""
        return "words" in self.options


KINDS: dict[str, Kind] = {}


def layer(
    *, unit: bool = False, dense: bool = False, merge: bool = False
) -> Callable[[Callable[..., nn.Module]], Callable[..., nn.Module]]:
    """Register the decorated function as a layer kind, by the function's name."""

    def register(make: Callable[..., nn.Module]) -> Callable[..., nn.Module]:
        KINDS[make.__name__] = Kind(make, unit, dense, merge)
        return make

    return register


def by_rank(shape: Shape, *modules: Callable[..., nn.Module]) -> Callable[..., nn.Module]:
    """Return the 1-D, 2-D or 3-D module that fits the number of axes behind the channels.

    Raises:
        ValueError: no module fits.
    """
    if not 2 <= len(shape) <= 1 + len(modules):
        axes = ("one axis", "one or two axes", "one to three axes")[len(modules) - 1]
        raise ValueError(f"needs channels and {axes}, got {show(shape)}")
    return modules[len(shape) - 2]


def maps(shape: Shape) -> int:
    """Return the number of channels of a (channels, height, width) input.

    Raises:
        ValueError: the input has other axes.
    """
    if len(shape) != 3:
        raise ValueError(f"needs channels, height and width, got {show(shape)}")
    return shape[0]
