"""Draw a forest plot: each variant's difference with its interval, on one axis.

Horizontal coordinates in a row's svg are in percent, so that it takes any width while text and lines keep their size.
On a page the rows are a grid that stacks on a narrow screen; as a picture they share one svg.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from math import inf, isfinite

from cnnlab.reporting.axis import number, ticks
from cnnlab.reporting.styles import css

TICKS = 8  # at most
APART = 6  # times the next largest reach, beyond which values are outliers, drawn at the end of the axis
DIAMOND, LEFT, RIGHT = "0,-6 6,0 0,6 -6,0", "9,-5 9,5 1,0", "-9,-5 -9,5 -1,0"
ROOM = 0.04  # share of the range, free at both ends
HEIGHT, LETTER, PLOT, NUMBERS = 26, 7.2, 400, 190  # pixels of a row, and widths of a letter, the plot, the numbers


@dataclass(frozen=True)
class Row:
    """One variant; differences are in the unit of the axis."""

    name: str
    verdict: str
    mean: float
    low: float | None
    high: float | None
    text: str  # the numbers, written beside the plot
    other: float | None = None  # a second difference, drawn as a diamond
    other_text: str = ""


@dataclass(frozen=True)
class Forest:
    """A plot of rows, from the top, on a common axis."""

    rows: Sequence[Row]
    label: str  # of the axis
    other: str = ""  # legend of the second differences, if there are any
    margin: float | None = None  # up to which differences do not matter; drawn as a band

    def html(self) -> str:
        """Draw the plot for a page, with its axis."""
        low, high = self._range()
        columns = " others" if self.other else ""
        lines = [f'<div class="forest{columns}">']
        for row in self.rows:
            second = f'<span class="other">{escape(row.other_text)}</span>' if self.other else ""
            lines.append(
                f'<div class="{css_class(row.verdict)}">'
                f"<b>{escape(row.name)}</b><span>{escape(row.text)}</span>{second}"
                f'<svg class="plot" aria-hidden="true" width="100%" height="{HEIGHT}">'
                f"{self._marks(row, low, high)}</svg></div>"
            )
        axis = f'<svg class="plot" width="100%" height="18">{self._axis(low, high)}</svg>'
        lines.append(f'<div class="axis">{axis}<span>{escape(self.label)}</span></div></div>')
        return "\n".join(lines)

    def picture(self) -> str:
        """Draw the plot as an SVG file that follows the system's light or dark theme."""
        low, high = self._range()
        left = 16 + LETTER * max((len(row.name) for row in self.rows), default=0)
        height = HEIGHT * len(self.rows) + 44
        parts = []
        for place, row in enumerate(self.rows):
            top = HEIGHT * place
            parts.append(
                f'<g class="{css_class(row.verdict)}"><text x="{left - 8:.0f}" y="{top + 17}" text-anchor="end">'
                f'{escape(row.name)}</text><svg x="{left:.0f}" y="{top}" width="{PLOT}" height="{HEIGHT}">'
                f'{self._marks(row, low, high)}</svg><text x="{left + PLOT + 8:.0f}" y="{top + 17}">'
                f"{escape(row.text)}</text></g>"
            )
        bottom = HEIGHT * len(self.rows)
        axis = f'<svg x="{left:.0f}" y="{bottom}" width="{PLOT}" height="18">{self._axis(low, high)}</svg>'
        label = f'<text x="{left + PLOT / 2:.0f}" y="{bottom + 34}" text-anchor="middle">{escape(self.label)}</text>'
        return (
            f'<svg class="plot" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {left + PLOT + NUMBERS:.0f} {height}" '
            f'width="{left + PLOT + NUMBERS:.0f}" height="{height}">\n<style>{css("colours", "plots")}</style>\n'
            + "\n".join([*parts, axis, label])
            + "\n</svg>\n"
        )

    def _range(self) -> tuple[float, float]:
        """Return the ends of the axis, without outliers that would flatten the rest."""
        extents = sorted(max([abs(r.mean), *map(abs, _ends(r))]) for r in self.rows)
        cuts = range(-(-2 * len(extents) // 3), len(extents))  # at most a third are outliers
        limit = next((extents[i - 1] for i in cuts if extents[i] > APART * extents[i - 1] > 0), inf)
        values = [v for r in self.rows for v in (r.mean, *_ends(r)) if abs(v) <= limit]
        low, high = min(0.0, *values), max(0.0, *values)
        span = high - low or 1.0
        for margin in (-self.margin, self.margin) if self.margin else ():
            low, high = min(low, max(margin, low - span)), max(high, min(margin, high + span))
        others = [r.other for r in self.rows if r.other is not None]
        low = min([low, *(v for v in others if v >= low - span)])
        high = max([high, *(v for v in others if v <= high + span)])
        room = ROOM * (high - low or 1.0)
        return low - room, high + room

    def _marks(self, row: Row, low: float, high: float) -> str:
        def x(value: float) -> float:
            return 100 * (min(max(value, low), high) - low) / (high - low)

        parts = []
        if self.margin:
            left, right = x(-self.margin), x(self.margin)
            parts.append(f'<rect class="band" x="{left:.2f}%" width="{right - left:.2f}%" height="100%"/>')
        parts += [
            f'<line class="{"zero" if tick == 0 else "grid"}" x1="{x(tick):.2f}%" x2="{x(tick):.2f}%" y2="100%"/>'
            for tick in ticks(low, high, TICKS)
        ]
        if row.low is not None and row.high is not None:
            ends = f'x1="{x(row.low):.2f}%" x2="{x(row.high):.2f}%"'
            parts.append(f'<line class="interval" {ends} y1="50%" y2="50%"/>')
        if low <= row.mean <= high:
            hollow = "" if row.low is not None else " hollow"
            parts.append(f'<circle class="dot{hollow}" cx="{x(row.mean):.2f}%" cy="50%" r="4.5"/>')
        else:
            parts.append(_polygon("dot", x(row.mean), LEFT if row.mean < low else RIGHT))
        if row.other is not None:
            shape = LEFT if row.other < low else RIGHT if row.other > high else DIAMOND
            parts.append(_polygon("second", x(row.other), shape))
        return "".join(parts)

    def _axis(self, low: float, high: float) -> str:
        places = {tick: 100 * (tick - low) / (high - low) for tick in ticks(low, high, TICKS)}
        return "".join(
            f'<text x="{x:.2f}%" y="13" text-anchor="{"start" if x < 3 else "end" if x > 97 else "middle"}">'
            f"{number(tick)}</text>"
            for tick, x in places.items()
        )

    def legend(self) -> str:
        """Explain the marks."""
        parts = ["● mean over seeds; ○ too few seeds; line: 95 % interval for all together"]
        if self.other:
            parts.append(f"◇ {self.other}")
        parts.append("◀ ▶ beyond the axis")
        if self.margin:
            parts.append("band: the margin of differences that do not matter")
        return "; ".join(parts)


def _ends(row: Row) -> list[float]:
    """Return the finite ends of a row's interval."""
    return [end for end in (row.low, row.high) if end is not None and isfinite(end)]


def _polygon(kind: str, place: float, points: str) -> str:
    inner = f'<polygon class="{kind}" points="{points}"/>'
    return f'<svg x="{place:.2f}%" y="50%" overflow="visible">{inner}</svg>'


def css_class(verdict: str) -> str:
    """Return the CSS class that gives a verdict its colour."""
    return verdict.replace(" ", "-")  # a space would make two classes
