"""Plot curves over epochs, and points with names, as svg elements in the colours of `plots.css`."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from math import log
from typing import NamedTuple

from cnnlab.reporting.axis import engineering, logarithmic_ticks, number, ticks
from cnnlab.reporting.curves import Curves, by_epoch
from cnnlab.reporting.forest import css_class

LETTER = 6.6  # width of a character of 12 px
DOTS = 15  # epochs up to which each has a dot

Warp = Callable[[float], float]
Labels = Sequence[tuple[float, str]]


@dataclass(frozen=True)
class Frame:
    """The area of a plot, and the mapping from values to pixels."""

    width: int  # of the svg element in pixels, before scaling
    height: int
    x: tuple[float, float]  # lowest and highest value of each axis
    y: tuple[float, float]
    left: int = 44  # room for the numbers of the vertical axis
    warp: Warp = float  # scale of the horizontal axis: log, or float for a linear one
    lift: Warp = float  # scale of the vertical axis
    room: int = 0  # pixels between the ends of the horizontal axis and its lowest and highest value

    def across(self, value: float) -> float:
        """Return the pixels from the left."""
        low, high = map(self.warp, self.x)
        width = self.width - self.left - 8 - 2 * self.room
        return self.left + self.room + width * (self.warp(value) - low) / ((high - low) or 1)

    def down(self, value: float) -> float:
        """Return the pixels from the top."""
        low, high = map(self.lift, self.y)
        return 24 + (self.height - 64) * (high - self.lift(value)) / ((high - low) or 1)

    def svg(self, x_label: str, y_label: str, marks: Sequence[str], labels: Labels, about: str = "") -> str:
        """Draw the svg element: grid, numbers and labels of both axes, then marks.

        Args:
            labels: of the horizontal axis, each with the pixels from the left at which it stands.
            about: description for screen readers; `y_label` unless given.
        """
        bottom, right = self.height - 40, self.width - 8
        parts = [f'<text class="soft" x="2" y="13">{escape(y_label)}</text>']
        for value in logarithmic_ticks(*self.y) if self.lift is log else ticks(*self.y):
            y = self.down(value)
            parts.append(f'<line class="grid" x1="{self.left}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>')
            parts.append(f'<text x="{self.left - 5}" y="{y + 4:.1f}" text-anchor="end">{number(value)}</text>')
        for x, label in labels:
            parts.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{bottom}" y2="{bottom + 4}"/>')
            anchor = "end" if x > right - 12 else "middle"
            parts.append(f'<text class="x" x="{x:.1f}" y="{bottom + 17}" text-anchor="{anchor}">{escape(label)}</text>')
        parts.append(f'<text class="soft" x="{right}" y="{bottom + 33}" text-anchor="end">{escape(x_label)}</text>')
        head = f'aria-label="{escape(about or y_label)}" viewBox="0 0 {self.width} {self.height}"'
        return f'<svg class="plot" role="img" {head}>{"".join([*parts, *marks])}</svg>'


def curves(
    by_variant: Mapping[str, Curves], scalar: str, baseline: str, y_label: str, factor: float = 1, warp: Warp = float
) -> str:
    """Draw a panel for each variant on common axes: mean over seeds, the band from lowest to highest, baseline in grey.

    Args:
        by_variant: for each variant the curves over its runs.
        scalar: the name of the scalar.
        baseline: the variant that all panels show.
        y_label, factor: label of the values, and their multiplier.
        warp: scale of the vertical axis: log (where all values are above 0) or float for a linear one.
    """
    bands = {name: _band(own, scalar, factor) for name, own in by_variant.items()}
    points = [point for band in bands.values() for point in band]
    if not points:
        return ""
    epochs = min(p.epoch for p in points), max(p.epoch for p in points)
    lowest, highest = min(p.low for p in points), max(p.high for p in points)
    frame = Frame(176, 164, epochs, (lowest, highest), left=34, lift=warp if lowest > 0 else float)
    whole = [(frame.across(tick), engineering(tick)) for tick in sorted({round(t) for t in ticks(*epochs, most=4)})]
    reference, panels = bands.get(baseline, []), []
    for name, band in bands.items():
        if band:
            own = _drawn(frame, band, "variant") if name != baseline else ""
            svg = frame.svg("epoch", y_label, [_drawn(frame, reference, ""), own], whole)
            panels.append(f"<div><b>{escape(name)}</b>{svg}</div>")
    return f'<div class="panels">{"".join(panels)}</div>'


class Point(NamedTuple):
    """Lowest, mean and highest value over runs at one epoch."""

    epoch: float
    low: float
    mean: float
    high: float


def _band(curves: Curves, scalar: str, factor: float) -> list[Point]:
    if not (found := by_epoch(curves, scalar)):
        return []
    epochs, curve = found
    values = (factor * curve.lowest, factor * curve.mean, factor * curve.highest)
    return [Point(*point) for point in zip(epochs.tolist(), *(v.tolist() for v in values), strict=True)]


def _drawn(frame: Frame, band: Sequence[Point], kind: str) -> str:
    def line(values: Sequence[tuple[float, float]]) -> str:
        return " ".join(f"{frame.across(x):.1f},{frame.down(y):.1f}" for x, y in values)

    there, back = [(p.epoch, p.high) for p in band], [(p.epoch, p.low) for p in reversed(band)]
    means = [(p.epoch, p.mean) for p in band]
    dots = [f'<circle class="dot" cx="{frame.across(x):.1f}" cy="{frame.down(y):.1f}" r="1.8"/>' for x, y in means]
    return (
        f'<g class="{kind}"><polygon class="spread" points="{line(there + back)}"/>'
        f'<polyline class="curve" points="{line(means)}"/>{"".join(dots if len(dots) <= DOTS else [])}</g>'
    )


class Dot(NamedTuple):
    """A variant in a plot of points."""

    name: str
    verdict: str
    x: float
    y: float
    spread: float


def scatter(dots: Sequence[Dot], x_label: str, y_label: str) -> str:
    """Plot points with bars of a standard deviation and, where there is room, names, on a logarithmic axis."""
    if not dots:
        return ""
    low, high = min(d.x for d in dots), max(d.x for d in dots)
    margin = max(1.15, (high / low) ** 0.12)
    bottom, top = min(d.y - d.spread for d in dots), max(d.y + d.spread for d in dots)
    room = 0.06 * (top - bottom) or 0.5
    frame = Frame(360, 300, (low / margin, high * margin), (bottom - room, top + room), warp=log)
    bars, names = [], []
    taken = [
        (frame.across(d.x) - 4, frame.down(d.y + d.spread) - 4, frame.across(d.x) + 4, frame.down(d.y - d.spread) + 4)
        for d in dots
    ]
    for dot in dots:
        x, y, half = frame.across(dot.x), frame.down(dot.y), frame.down(0) - frame.down(dot.spread)
        ends = f'x1="{x:.1f}" x2="{x:.1f}" y1="{y - half:.1f}" y2="{y + half:.1f}"'
        about = escape(f"{dot.name}: {dot.y:.4g}, {x_label} {dot.x:,.0f}")
        bars.append(
            f'<g class="{css_class(dot.verdict)}"><title>{about}</title><line class="interval" {ends}/>'
            f'<circle class="dot" cx="{x:.1f}" cy="{y:.1f}" r="4"/></g>'
        )
        width = LETTER * len(dot.name)
        above, below = y - half - 7, y + half + 16
        for left, base in ((x + 8, y + 4), (x - 8 - width, y + 4), (x - width / 2, above), (x - width / 2, below)):
            box = (left, base - 11, left + width, base + 3)
            inside = box[0] >= frame.left and box[2] <= frame.width and box[1] >= 16 and box[3] <= frame.height - 40
            if inside and not any(_overlap(box, other) for other in taken):
                taken.append(box)
                names.append(f'<text x="{left:.1f}" y="{base:.1f}">{escape(dot.name)}</text>')
                break
    labels = [(frame.across(tick), engineering(tick)) for tick in logarithmic_ticks(*frame.x)]
    return frame.svg(x_label, y_label, bars + names, labels)


def _overlap(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
