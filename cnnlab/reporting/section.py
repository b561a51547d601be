"""A report as data: sections of blocks, which `page`, `markdown` and `latex` each render.

A new part of a report is one function that returns a `Section` and a line in `sections.sections`.
"""

from dataclasses import dataclass, field

from cnnlab.reporting.tables import Table


@dataclass(frozen=True)
class Bullets:
    """Sentences, one below the other."""

    lines: list[str]
    kinds: list[str] = field(default_factory=list)  # the verdict of each, which colours its bullet on the page


@dataclass(frozen=True)
class Code:
    """A command or values, shown verbatim."""

    text: str


@dataclass(frozen=True)
class Data:
    """A table."""

    name: str  # its id in the page, and the end of its label in LaTeX; letters, digits and `-`
    rows: Table  # the page sorts a column by its numbers, see `sort_key`
    caption: str  # above it in LaTeX; on the page, for screen readers
    media: tuple[str, ...] = ("html", "md")  # the files that show it; of all blocks `tex` shows only these


@dataclass(frozen=True)
class Figure:
    """A plot or pictures."""

    name: str  # its id in the page
    html: str  # markup that loads nothing: an svg element, or img elements whose sources are `data:` addresses
    caption: str = ""  # below it; its first sentence is the alternative text
    file: str = ""  # the text of `<name>.svg`, for `report.md`; if empty, the figure is on the page only


Block = str | Bullets | Code | Data | Figure  # a str is a paragraph


@dataclass
class Section:
    """A heading and its blocks, in order."""

    title: str
    blocks: list[Block] = field(default_factory=list)
