"""Plots of a search, as svg elements in the colours of `plots.css`: history, and accuracy by parameter."""

from collections.abc import Callable, Sequence
from html import escape
from math import log
from statistics import median

from cnnlab.reporting.axis import logarithmic_ticks, number, ticks
from cnnlab.reporting.tables import show
from cnnlab.reporting.trials import OVER, Search, Trial
from cnnlab.runs.plan import Parameter

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 400, 240, 46, 392, 24, 200  # of an svg element, and of its axes
LEGEND = "Green: the best; filled: completed; hollow: stopped early, at the accuracy reached; triangles: below the axis"


def history(search: Search) -> str:
    """Accuracy of each trial in the order of their beginning, and a line for the best so far."""
    shown = _with_accuracy(search)
    if not shown:
        return ""
    axis = _Vertical(search)
    last = max(2, max(trial.number for trial in search.trials))

    def across(trial_number: float) -> float:
        return LEFT + 6 + (RIGHT - LEFT - 12) * trial_number / last

    corners, best = [], 0.0
    for trial in search.of("complete"):
        if (trial.accuracy or 0) > best:
            before, best = best, trial.accuracy or 0
            x = across(trial.number)
            corners += [(x, axis.down(before))] if before else []
            corners.append((x, axis.down(best)))
    corners += [(across(last), axis.down(best))] if corners else []
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in corners)
    marks = [f'<g class="variant"><polyline class="curve" points="{line}"/></g>']
    marks += [axis.mark(trial, across(trial.number)) for trial in shown]
    labels = [(across(tick), number(tick)) for tick in sorted({round(t) for t in ticks(0, last)})]
    return axis.svg("trial", labels, marks)


def parameter_slice(search: Search, key: str) -> str:
    """Accuracy against the values that trials have tried of one parameter."""
    shown = [trial for trial in _with_accuracy(search) if key in trial.params]
    if not shown:
        return ""
    axis, parameter = _Vertical(search), search.space[key]
    if parameter.choices is not None:
        place, labels = _columns(key, parameter.choices)
    else:
        place, labels = _scale(key, parameter, [float(trial.params[key]) for trial in shown])
    return axis.svg(key, labels, [axis.mark(trial, place(trial)) for trial in shown])


def _with_accuracy(search: Search) -> list[Trial]:
    return [trial for trial in search.of(*OVER) if trial.accuracy is not None]


Labels = list[tuple[float, str]]  # of an axis: where each stands


def _columns(key: str, choices: Sequence[object]) -> tuple[Callable[[Trial], float], Labels]:
    """A column for each choice, in which trials lie side by side by their numbers."""
    width = (RIGHT - LEFT) / len(choices)
    middles = {show(choice): LEFT + width * (i + 0.5) for i, choice in enumerate(choices)}
    room = max(3, int(width / 7))

    def across(trial: Trial) -> float:
        aside = trial.number * 0.618 % 1 - 0.5  # the golden section spreads any row of numbers
        return middles.get(show(trial.params[key]), LEFT) + aside * min(0.6 * width, 60)

    return across, [(x, name if len(name) <= room else name[: room - 1] + "…") for name, x in middles.items()]


def _scale(key: str, parameter: Parameter, values: Sequence[float]) -> tuple[Callable[[Trial], float], Labels]:
    """A linear or a logarithmic axis over the range that was searched."""
    low = min([*values, *([] if parameter.low is None else [parameter.low])])
    high = max([*values, *([] if parameter.high is None else [parameter.high])])
    warp: Callable[[float], float] = log if parameter.log else float
    span = (warp(high) - warp(low)) or 1.0

    def pixels(value: float) -> float:
        return LEFT + 6 + (RIGHT - LEFT - 12) * (warp(value) - warp(low)) / span

    found = logarithmic_ticks(low, high) if parameter.log else ticks(low, high)
    return lambda trial: pixels(float(trial.params[key])), [(pixels(tick), f"{tick:.6g}") for tick in found]


class _Vertical:
    """The vertical axis, which all plots of a search have in common, and what is drawn along it.

    Trials far below the median would leave no room for the others: they are drawn at the lower end.
    """

    def __init__(self, search: Search) -> None:
        self.best = search.ranked[0] if search.ranked else None
        values = [100 * trial.accuracy for trial in _with_accuracy(search) if trial.accuracy is not None]
        highest, lowest = max(values), min(values)
        self.low = max(lowest, highest - max(4 * (highest - median(values)), 0.1))
        room = 0.06 * (highest - self.low) or 0.5
        self.low, self.high = self.low - room, min(100.0, highest + room)

    def down(self, accuracy: float) -> float:
        """Pixels from the top."""
        return TOP + (BOTTOM - TOP) * (self.high - max(100 * accuracy, self.low)) / (self.high - self.low)

    def mark(self, trial: Trial, x: float) -> str:
        """Draw a trial: hollow where it was stopped early, in colour where it is the best."""
        assert trial.accuracy is not None
        y, kind = self.down(trial.accuracy), "dot" if trial.state == "complete" else "dot hollow"
        about = escape(f"{trial.name}, {trial.state}: {100 * trial.accuracy:.2f} %")
        if 100 * trial.accuracy < self.low:
            drawn = f'<path class="{kind}" d="M{x - 3.5:.1f},{y - 6:.1f}h7l-3.5,6z"/>'
        else:
            drawn = f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="{4 if trial is self.best else 3}"/>'
        return f'<g class="{"better" if trial is self.best else ""}"><title>{about}</title>{drawn}</g>'

    def svg(self, label: str, labels: Sequence[tuple[float, str]], marks: Sequence[str]) -> str:
        """The svg element: grid, numbers and labels of both axes, then marks."""
        parts = ['<text class="soft" x="2" y="13">validation accuracy, %</text>']
        for value in ticks(self.low, self.high):
            y = self.down(value / 100)
            parts.append(f'<line class="grid" x1="{LEFT}" x2="{RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
            parts.append(f'<text x="{LEFT - 5}" y="{y + 4:.1f}" text-anchor="end">{number(value)}</text>')
        for x, text in labels:
            anchor = "end" if x > RIGHT - 12 else "middle"
            parts.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{BOTTOM}" y2="{BOTTOM + 4}"/>')
            parts.append(f'<text class="x" x="{x:.1f}" y="{BOTTOM + 17}" text-anchor="{anchor}">{escape(text)}</text>')
        parts.append(f'<text class="soft" x="{RIGHT}" y="{BOTTOM + 33}" text-anchor="end">{escape(label)}</text>')
        about = escape(f"validation accuracy against {label}")
        size = f'viewBox="0 0 {WIDTH} {HEIGHT}"'
        return f'<svg class="plot" role="img" aria-label="{about}" {size}>{"".join([*parts, *marks])}</svg>'
