"""Format rows as a table: for the terminal, in Markdown, in CSV, in a notebook."""

import csv
import io
import re
from collections.abc import Mapping
from html import escape
from typing import Any

NUMBER = re.compile(r"([+-]?(?:\d+(?:\.\d+)?(?:e[+-]?\d+)?|inf))(?: ?%| ± .*| to .*| \([^)]*\))?")


class Bytes(int):
    """A number of bytes, which a table shows in KiB, MiB or GiB."""


class Table(list[dict[str, Any]]):
    """Rows of named values; any row's names are columns."""

    @property
    def columns(self) -> list[str]:
        """The names, in order of appearance."""
        return list(dict.fromkeys(name for row in self for name in row))

    def cells(self) -> list[list[str]]:
        """Format all values as text, row by row."""
        return [[show(row.get(name)) for name in self.columns] for row in self]

    def __str__(self) -> str:
        rows = [self.columns, *self.cells()]
        widths = [max(len(row[i]) for row in rows) for i in range(len(self.columns))]
        numeric = [all(isinstance(row.get(n), (int, float, type(None))) for row in self) for n in self.columns]
        return "\n".join(
            "  ".join(c.rjust(w) if n else c.ljust(w) for c, w, n in zip(row, widths, numeric, strict=True)).rstrip()
            for row in rows
        )

    def markdown(self) -> str:
        """Write the table in Markdown."""
        lines = [self.columns, ["---"] * len(self.columns), *self.cells()]
        return "\n".join(f"| {' | '.join(c.replace('|', chr(92) + '|') for c in line)} |" for line in lines)

    def csv(self) -> str:
        """Write comma-separated values, numbers in full."""
        out = io.StringIO()
        writer = csv.DictWriter(out, self.columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(self)
        return out.getvalue()

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{escape(c)}</th>" for c in self.columns)
        body = "".join(f"<tr>{''.join(f'<td>{escape(c)}</td>' for c in row)}</tr>" for row in self.cells())
        return f"<table><tr>{head}</tr>{body}</table>"


def show(value: Any) -> str:
    """Format a value for reading: numbers short, None as an empty string."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Bytes):
        return _sized(value)
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    if isinstance(value, (list, tuple)):
        return "x".join(map(str, value)) if all(isinstance(v, int) for v in value) else ", ".join(map(show, value))
    if isinstance(value, Mapping):
        return str(dict(value))
    return str(value)


def sort_key(value: Any) -> float | str:
    """Return a cell's sort key: its first number, as of `0.2`, `+0.3 to +0.4` or `99.1 ± 0.2`, else its text."""
    if isinstance(value, str):
        number = NUMBER.fullmatch(value)
        return float(number[1]) if number else value
    return "" if value is None else value if isinstance(value, (int, float)) else show(value)


def numeric(rows: Table, column: str) -> bool:
    """Return whether a column holds only numbers, and is aligned right."""
    keys = [sort_key(row.get(column)) for row in rows]
    return any(key != "" for key in keys) and all(key == "" or not isinstance(key, str) for key in keys)


def _sized(count: int) -> str:
    size, units = float(count), ["B", "KiB", "MiB", "GiB"]
    while size >= 1024 and len(units) > 1:
        size, units = size / 1024, units[1:]
    return f"{size:,.0f} {units[0]}" if size >= 10 or units[0] == "B" else f"{size:.1f} {units[0]}"
