"""Plot a search, as svg elements in the colours of `plots.css`: history, and accuracy by parameter."""

from collections.abc import Callable, Sequence
from html import escape
from math import log
from statistics import median

from cnnlab.reporting.axis import logarithmic_ticks, number, ticks
from cnnlab.reporting.charts import Frame, Labels, Warp
from cnnlab.reporting.tables import show
from cnnlab.reporting.trials import OVER, Search, Trial

WIDTH, HEIGHT, LEFT, ROOM = 400, 240, 46, 6  # of a plot, in pixels
LEGEND = "Green: the best; filled: completed; hollow: stopped early, at the accuracy reached; triangles: below the axis"
Places = Sequence[tuple[Trial, float]]  # trials, each with pixels from the left


def history(search: Search) -> str:
    """Plot the accuracy of each trial in the order of their start, and a line for the best so far."""
    if not (shown := _with_accuracy(search)):
        return ""
    frame = _frame(search, (0, max(2, max(trial.number for trial in search.trials))))
    corners, best = [], 0.0
    for trial in search.of("complete"):
        if (trial.accuracy or 0) > best:
            before, best = best, trial.accuracy or 0
            x = frame.across(trial.number)
            corners += [(x, _down(frame, before))] if before else []
            corners.append((x, _down(frame, best)))
    corners += [(frame.across(frame.x[1]), _down(frame, best))] if corners else []
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in corners)
    curve = f'<g class="variant"><polyline class="curve" points="{line}"/></g>'
    labels = [(frame.across(tick), number(tick)) for tick in sorted({round(t) for t in ticks(*frame.x)})]
    return _plot(search, frame, "trial", labels, [(trial, frame.across(trial.number)) for trial in shown], curve)


def parameter_slice(search: Search, key: str) -> str:
    """Plot accuracy against the tried values of one parameter, over its searched range."""
    shown, parameter = [trial for trial in _with_accuracy(search) if key in trial.params], search.space[key]
    if not shown:
        return ""
    if parameter.choices is not None:
        place, labels = _columns(key, parameter.choices)
        return _plot(search, _frame(search), key, labels, [(trial, place(trial)) for trial in shown])
    values = [float(trial.params[key]) for trial in shown]
    low = min([*values, *([] if parameter.low is None else [parameter.low])])
    high = max([*values, *([] if parameter.high is None else [parameter.high])])
    frame = _frame(search, (low, high), log if parameter.log else float)
    found = logarithmic_ticks(low, high) if parameter.log else ticks(low, high)
    labels = [(frame.across(tick), f"{tick:.6g}") for tick in found]
    return _plot(search, frame, key, labels, list(zip(shown, map(frame.across, values), strict=True)))


def _with_accuracy(search: Search) -> list[Trial]:
    return [trial for trial in search.of(*OVER) if trial.accuracy is not None]


def _columns(key: str, choices: Sequence[object]) -> tuple[Callable[[Trial], float], Labels]:
    """Return a trial's x and the axis labels of a categorical parameter: a column for each choice, with jitter."""
    width = (WIDTH - 8 - LEFT) / len(choices)
    middles = {show(choice): LEFT + width * (i + 0.5) for i, choice in enumerate(choices)}
    room = max(3, int(width / 7))

    def across(trial: Trial) -> float:
        jitter = trial.number * 0.618 % 1 - 0.5  # the golden ratio spreads consecutive numbers evenly
        return middles.get(show(trial.params[key]), LEFT) + jitter * min(0.6 * width, 60)

    return across, [(x, name if len(name) <= room else name[: room - 1] + "…") for name, x in middles.items()]


def _frame(search: Search, x: tuple[float, float] = (0, 1), warp: Warp = float) -> Frame:
    """Make the area of a plot; all plots of a search share the vertical axis, in percent.

    Trials far below the median are drawn at its lower end, to leave room for the others.
    """
    values = [100 * (trial.accuracy or 0) for trial in _with_accuracy(search)]
    highest, lowest = max(values), min(values)
    low = max(lowest, highest - max(4 * (highest - median(values)), 0.1))
    room = 0.06 * (highest - low) or 0.5
    return Frame(WIDTH, HEIGHT, x, (low - room, min(100.0, highest + room)), LEFT, warp, room=ROOM)


def _down(frame: Frame, accuracy: float) -> float:
    return frame.down(max(100 * accuracy, frame.y[0]))


def _plot(search: Search, frame: Frame, label: str, labels: Labels, places: Places, below: str = "") -> str:
    """Draw trials at their positions: hollow if stopped early, in colour if the best."""
    marks, best = [below], search.ranked[:1]
    for trial, x in places:
        assert trial.accuracy is not None
        y, kind = _down(frame, trial.accuracy), "dot" if trial.state == "complete" else "dot hollow"
        about = escape(f"{trial.name}, {trial.state}: {100 * trial.accuracy:.2f} %")
        if 100 * trial.accuracy < frame.y[0]:
            drawn = f'<path class="{kind}" d="M{x - 3.5:.1f},{y - 6:.1f}h7l-3.5,6z"/>'
        else:
            drawn = f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="{4 if trial in best else 3}"/>'
        marks.append(f'<g class="{"better" if trial in best else ""}"><title>{about}</title>{drawn}</g>')
    return frame.svg(label, "validation accuracy, %", marks, labels, f"validation accuracy against {label}")
