"""A report as data: sections of blocks, which `page`, `markdown` and `latex` each render.

A new part of a report is one function that returns a `Section` and a line in `sections.sections`.
"""

from dataclasses import dataclass, field

from cnnlab.reporting.tables import Table


@dataclass(frozen=True)
class Bullets:
    """Sentences, one below the other."""

    lines: list[str]
    kinds: list[str] = field(default_factory=list)  # of each the verdict, whose colour its bullet has in the page


@dataclass(frozen=True)
class Code:
    """What is to be typed, word for word."""

    text: str


@dataclass(frozen=True)
class Data:
    """A table."""

    name: str  # its id in the page, and the end of its label in LaTeX; letters, digits and `-`
    rows: Table  # a page sorts them by number where a cell is one or begins with a sign
    caption: str  # what LaTeX writes above it, and the page for those who cannot see
    media: tuple[str, ...] = ("html", "md")  # the files in which it stands; `tex` has no other blocks


@dataclass(frozen=True)
class Figure:
    """A plot or pictures."""

    name: str  # its id in the page
    html: str  # markup that loads nothing: an svg element, or img elements whose sources are `data:` addresses
    caption: str = ""  # what it shows, below it; its first sentence stands for it where it cannot be seen
    file: str = ""  # an SVG file of the same, `<name>.svg`, for `report.md`; without it the figure is in the page only


Block = str | Bullets | Code | Data | Figure  # a str is a paragraph


@dataclass
class Section:
    """A heading and what stands under it, in order."""

    title: str
    blocks: list[Block] = field(default_factory=list)
