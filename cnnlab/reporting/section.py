"""A report as data: sections of blocks, which `page`, `markdown` and `latex` each render.

A new part of a report is one function that returns a `Section` and a line in `sections.sections`.
"""

from dataclasses import dataclass, field

from cnnlab.reporting.tables import Table


@dataclass(frozen=True)
class Bullets:
    """Sentences, one below the other."""

    lines: list[str]


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
        page: whether it stands in `report.html` and `report.md`.
        paper: whether it stands in `report.tex`, which has no other blocks.
    """

    name: str
    rows: Table
    caption: str
    page: bool = True
    paper: bool = False


@dataclass(frozen=True)
class Figure:
    """A plot or pictures, in the page alone.

    Args:
        name: its id in the page.
        html: markup that loads nothing: an svg element, or img elements whose sources are `data:` addresses.
    """

    name: str
    html: str


Block = str | Bullets | Code | Data | Figure  # a str is a paragraph


@dataclass
class Section:
    """A heading and what stands under it, in order."""

    title: str
    blocks: list[Block] = field(default_factory=list)
