"""A study's plots, as SVG text to stand in a page."""

import io
from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import TYPE_CHECKING, Any

from cnnlab.reporting.study import Study

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = {"worse": "#c0392b", "better": "#1e8449"}
NEUTRAL = "#34495e"
PALETTE = ("#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd", "#8c564b", "#e377c2", "#7f7f7f", "#bcbd22", "#17becf")


def differences(study: Study) -> str:
    """Each variant's difference from the baseline, with the interval that holds for all of them together."""
    shown = [c for c in study.comparisons if c.difference]
    figure, axes = _figure(7, 1 + 0.35 * max(1, len(shown)))
    for y, comparison in enumerate(reversed(shown)):
        difference, judgement = comparison.difference, comparison.judgement
        assert difference is not None
        assert judgement is not None
        colour = COLOURS.get(judgement.verdict, NEUTRAL)
        if judgement.low is not None and judgement.high is not None:
            axes.plot([100 * judgement.low, 100 * judgement.high], [y, y], color=colour, linewidth=2)
        axes.plot([100 * difference.mean], [y], "o", color=colour)
    axes.axvline(0, color="#999999", linewidth=1)
    axes.set_yticks(range(len(shown)), [c.variant.name for c in reversed(shown)])
    axes.set_ylim(-0.6, max(1, len(shown)) - 0.4)
    axes.set_xlabel(f"accuracy against {study.baseline}, percentage points (95 % intervals, for all together)")
    return _svg(figure, "differences")


def against(study: Study, measure: str, label: str) -> str:
    """Plot accuracy against what a variant costs."""
    figure, axes = _figure(4.6, 3.4)
    colours = _colours(study)
    for comparison in study.comparisons:
        accuracy, deviation = comparison.metrics.get(study.metric, (None, None))
        size = getattr(comparison.variant, measure)
        if accuracy is None or not size:
            continue
        name = comparison.variant.name
        axes.errorbar([size], [100 * accuracy], 100 * (deviation or 0), fmt="o", color=colours[name], capsize=3)
        axes.annotate(name, (size, 100 * accuracy), (5, 4), textcoords="offset points", fontsize=7)
    axes.margins(x=0.2)
    _logarithmic(axes)
    axes.set_xlabel(label)
    axes.set_ylabel("accuracy, %")
    return _svg(figure, measure)


def robustness_plot(rows: Sequence[Mapping[str, Any]]) -> str:
    """Accuracy against the amount of each distortion, a line for each run."""
    from matplotlib.figure import Figure

    names, runs = (list(dict.fromkeys(row[key] for row in rows)) for key in ("distortion", "run"))
    columns = min(4, len(names))
    lines = -(-len(names) // columns)
    figure = Figure((3.1 * columns, 2.6 * lines + 0.4), layout="constrained")
    for place, name in enumerate(names):
        axes = figure.add_subplot(lines, columns, place + 1)
        for run in runs:
            points = [
                (row["amount"], 100 * row["accuracy"]) for row in rows if (row["distortion"], row["run"]) == (name, run)
            ]
            axes.plot(*zip(*points, strict=True), marker=".", label=run)
        axes.set_title(name.replace("_", " "), fontsize=10)
        axes.set_ylim(0, 102)
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
        if place % columns == 0:
            axes.set_ylabel("accuracy, %")
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(runs), frameon=False)
    return _svg(figure, "robustness")


def deleted_blocks(tables: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """Accuracy against the number of blocks that are deleted from trained networks, a line for each; bars are an sd.

    Args:
        tables: by name of the network, rows of `blocks`, `test/acc` (a mean over draws) and `sd`, as
            `Run.evaluate(lesion="blocks:4")` returns them.
    """
    from matplotlib.ticker import MaxNLocator

    figure, axes = _figure(5.4, 3.4)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    for (name, rows), colour in zip(tables.items(), cycle(PALETTE), strict=False):
        points = [(r["blocks"], 100 * r["test/acc"], 100 * (r["sd"] or 0)) for r in rows if r["test/acc"] is not None]
        numbers, values, spread = zip(*points, strict=True)
        axes.errorbar(numbers, values, spread, color=colour, label=name, marker=".", capsize=3)
    axes.set_xlabel("deleted blocks")
    axes.set_ylabel("test accuracy, %")
    axes.set_ylim(0, 100)
    axes.legend(frameon=False)
    return _svg(figure, "blocks")


def _logarithmic(axes: "Axes") -> None:
    """Make the horizontal axis logarithmic, with several labelled ticks however narrow or wide its range is."""
    from matplotlib.ticker import EngFormatter, LogLocator, MaxNLocator, NullFormatter

    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.xaxis.set_minor_formatter(NullFormatter())
    low, high = axes.get_xlim()
    if high < 5 * low:
        axes.xaxis.set_major_locator(MaxNLocator(4))
        axes.minorticks_off()
    elif high < 300 * low:
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 3, 5) if high < 30 * low else (1, 2, 5)))


def _colours(study: Study) -> Mapping[str, str]:
    names: Sequence[str] = [c.variant.name for c in study.comparisons]
    return {name: PALETTE[i % len(PALETTE)] for i, name in enumerate(names)}


def _figure(width: float, height: float) -> "tuple[object, Axes]":
    from matplotlib.figure import Figure

    figure = Figure((width, height))
    axes = figure.add_subplot()
    _plain(axes)
    return figure, axes


def _plain(axes: "Axes") -> None:
    """Leave of an axes' frame what is read, and put a faint grid behind it."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)


def _svg(figure: object, name: str) -> str:
    """The figure's svg element, with real text, and ids that no other figure of the page has."""
    from matplotlib import rc_context

    out = io.StringIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": name, "svg.id": name}):
        figure.savefig(out, format="svg", bbox_inches="tight", metadata={"Date": None})  # type: ignore[attr-defined]
    text = out.getvalue()
    return text[text.index("<svg") :]
