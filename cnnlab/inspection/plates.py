"""What a looker shows on the page of `inspect`: values, pictures, drawings; each with a title and what one sees."""

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
        title: what the values are, in a few words.
        says: a sentence on what one sees.
        values: (images, maps, height, width) of each of the images to choose from, or of one where they do not matter.
        dead: maps to be marked as dead.
        tile: pixels that a map is wide, about.
        aside: shown when it is asked for.
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
        image: the picture; a signed one is grey and has 0 at 0.5.
        caption: stands below it.
        signed: it is drawn in the colours of values.
        opaque: how much of each pixel (H, W) is seen, from 0 to 1; all where it is missing.
    """

    image: Tensor
    caption: str = ""
    signed: bool = False
    opaque: Tensor | None = None


@dataclass(frozen=True)
class Strip:
    """Tiles side by side, each about so many pixels wide."""

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
    """The images to choose from, of which the values of all layers are shown.

    Args:
        what: of which they are, such as "validation images".
        images: (N, C, H, W) from 0 to 1; None where examples are no images.
        texts: for each what it is in words, where examples are no images.
        axes: what rows and columns mean, in a sentence; empty where they are pixels.
        labels: what each shows, where that is known.
        answers: for each the most probable classes with their probabilities, the most probable first.
    """

    what: str
    images: Tensor | None
    labels: Sequence[str] | None
    answers: Sequence[Sequence[tuple[str, float]]]
    texts: Sequence[str] = ()
    axes: str = ""


Plate = Maps | Pictures | Drawing | Inputs


def percent(share: float, digits: int = 1) -> str:
    """A share as the pages write it, such as 98.3 %."""
    return f"{100 * share:.{digits}f}\N{NO-BREAK SPACE}%"
