"""A report as data: sections of blocks, which `page`, `markdown` and `latex` each render.

A new part of a report is one function that returns a `Section` and a line in `sections.sections`.
"""

from dataclasses import dataclass, field

from cnnlab.reporting.tables import Table


@dataclass(frozen=True)
class Bullets:
    """Sentences, one below the other.

    Args:
        lines: the sentences.
        kinds: of each the verdict, whose colour its bullet has in the page.
    """

    lines: list[str]
    kinds: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Code:
    """What is to be typed, word for word."""

    text: str


@dataclass(frozen=True)
class Data:
    """A table.

    Args:
        name: its id in the page, and the end of its label in LaTeX; letters, digits and `-`.
        rows: its rows; a page sorts them by number where a cell is one or begins with a sign.
        caption: what LaTeX writes above it, and the page for those who cannot see.
        media: the files in which it stands; `tex` has no other blocks.
    """

    name: str
    rows: Table
    caption: str
    media: tuple[str, ...] = ("html", "md")


@dataclass(frozen=True)
class Figure:
    """A plot or pictures.

    Args:
        name: its id in the page.
        html: markup that loads nothing: an svg element, or img elements whose sources are `data:` addresses.
        caption: what it shows, below it; its first sentence stands for it where it cannot be seen.
        file: an SVG file of the same, `<name>.svg`, which `report.md` shows; without it the figure is in the page only.
    """

    name: str
    html: str
    caption: str = ""
    file: str = ""


Block = str | Bullets | Code | Data | Figure  # a str is a paragraph


@dataclass
class Section:
    """A heading and what stands under it, in order."""

    title: str
    blocks: list[Block] = field(default_factory=list)
