"""Define plates, which lookers show on the page of `inspect`: values, pictures and drawings."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Maps:
    """Values drawn as the page of play draws them: a tile for each map, red above 0, blue below, with a scale.

    Args:
        title: names the values in a few words.
        says: a sentence that explains them.
        values: (images, maps, height, width), for each image to choose from, or for one if all have the same.
        dead: maps marked as dead.
        tile: approximate width of a map in pixels.
        aside: hidden until the reader opens it.
    """

    title: str
    says: str
    values: Tensor
    dead: Sequence[int] = ()
    tile: int = 72
    aside: bool = False


@dataclass(frozen=True)
class Tile:
    """A picture (C, H, W) from 0 to 1 with a caption.

    Args:
        image: the picture; a signed one is grey, with the value 0 at 0.5.
        caption: text below it.
        signed: whether it is drawn in the colours of values.
        opaque: opacity of each pixel, (H, W) from 0 to 1; None for an opaque picture.
    """

    image: Tensor
    caption: str = ""
    signed: bool = False
    opaque: Tensor | None = None


@dataclass(frozen=True)
class Strip:
    """Tiles side by side, each about `wide` pixels wide."""

    says: str
    tiles: Sequence[Tile]
    wide: int = 56


@dataclass(frozen=True)
class Card:
    """Strips below one heading."""

    head: str
    strips: Sequence[Strip]


@dataclass(frozen=True)
class Pictures:
    """Cards of pictures."""

    title: str
    says: str
    cards: Sequence[Card]


@dataclass(frozen=True)
class Drawing:
    """A figure of matplotlib, in the colours of the page."""

    title: str
    says: str
    figure: "Figure"


@dataclass(frozen=True)
class Inputs:
    """The examples to choose from, for which the page shows the values of all layers.

    Args:
        what: names them, such as "validation images".
        images: (N, C, H, W) from 0 to 1; None where examples are no images.
        labels: true classes, if known.
        answers: for each the most probable classes with their probabilities, in descending order.
        texts: descriptions of examples that are no images.
        axes: a sentence on what rows and columns mean; empty where they are pixels.
    """

    what: str
    images: Tensor | None
    labels: Sequence[str] | None
    answers: Sequence[Sequence[tuple[str, float]]]
    texts: Sequence[str] = ()
    axes: str = ""


Plate = Maps | Pictures | Drawing | Inputs


def percent(share: float, digits: int = 1) -> str:
    """Format a share, such as 98.3 %."""
    return f"{100 * share:.{digits}f}\N{NO-BREAK SPACE}%"
