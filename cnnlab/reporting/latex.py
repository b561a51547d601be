r"""Render sections' tables as LaTeX, for `\input` in a paper that uses the package booktabs."""

import re
from collections.abc import Sequence

from cnnlab.reporting.section import Data, Section
from cnnlab.reporting.tables import numeric, show

SPECIAL = {
    **{c: f"\\{c}" for c in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "±": r"$\pm$",
    "↓": r"$\downarrow$",
    "↑": r"$\uparrow$",
    "≈": r"$\approx$",
    "≲": r"$\preceq$",
    "≳": r"$\succeq$",
}


def latex(title: str, label: str, sections: Sequence[Section]) -> str:
    """Write `report.tex`: the tables with `tex` among their media, labelled `tab:<label>-<name of the table>`."""
    tables = [
        block for section in sections for block in section.blocks if isinstance(block, Data) and "tex" in block.media
    ]
    head = rf"% {escape(title)}. Needs \usepackage{{booktabs}}; include it by \input{{report}}."
    return "\n\n".join([head, *(_table(block, label) for block in tables)]) + "\n"


def escape(text: str) -> str:
    """Escape LaTeX's special characters, and set the signs of numbers in math mode."""
    escaped = "".join(SPECIAL.get(c, c) for c in text)
    return re.sub(r"(?<![\w-])([+-])(?=\d)", r"$\1$", escaped)


def _table(block: Data, label: str) -> str:
    columns = block.rows.columns
    rows = [[escape(show(row.get(c))) for c in columns] for row in block.rows]
    return "\n".join(
        [
            r"\begin{table}",
            r"\centering\small\setlength{\belowcaptionskip}{6pt}",
            rf"\caption{{{escape(block.caption)}}}",
            rf"\label{{tab:{re.sub('[^A-Za-z0-9-]', '-', label)}-{block.name}}}",
            rf"\begin{{tabular}}{{{''.join('r' if numeric(block.rows, c) else 'l' for c in columns)}}}",
            r"\toprule",
            " & ".join(escape(c) for c in columns) + r" \\",
            r"\midrule",
            *(" & ".join(row) + r" \\" for row in rows),
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
        ]
    )
