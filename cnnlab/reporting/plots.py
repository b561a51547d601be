"""Plot robustness, distortions, lesions and functions of one number, as SVG text."""

import io
from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

PALETTE = ("#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd", "#8c564b", "#e377c2", "#7f7f7f", "#bcbd22", "#17becf")

ENLARGED = 2  # pixels for each pixel of an image, which a browser would blur at 1


Curve = tuple[list[float], list[float], list[float]]  # x, values, derivatives


def function_plot(curves: Mapping[str, Curve]) -> str:
    """Plot functions of one number, a panel for each, with their derivatives dashed."""
    figure, panels = _panels(len(curves), 7, 1.8, 1.8, 0.4)
    for axes, (name, (x, y, slope)) in zip(panels, curves.items(), strict=True):
        _plain(axes)
        axes.axhline(0, color="grey", linewidth=0.6)
        axes.axvline(0, color="grey", linewidth=0.6)
        axes.plot(x, y, color=PALETTE[0], label="value")
        axes.plot(x, slope, color=PALETTE[1], linestyle="--", linewidth=1.2, label="derivative")
        axes.set_ylim(-2.2, 4.2)
        axes.set_title(name, fontsize=10)
        axes.tick_params(labelsize=7)
    _legend_below(figure, 2)
    return _svg(figure, "functions")


def robustness_plot(rows: Sequence[Mapping[str, Any]]) -> str:
    """Plot accuracy against the amount of each distortion, a line for each run."""
    names, runs = (list(dict.fromkeys(row[key] for row in rows)) for key in ("distortion", "run"))
    figure, panels = _panels(len(names), 4, 3.1, 2.6, 0.4)
    for place, (axes, name) in enumerate(zip(panels, names, strict=True)):
        for run in runs:
            points = [
                (row["amount"], 100 * row["accuracy"]) for row in rows if (row["distortion"], row["run"]) == (name, run)
            ]
            axes.plot(*zip(*points, strict=True), marker=".", label=run)
        axes.set_title(_title(name), fontsize=10)
        axes.set_ylim(0, 102)
        _plain(axes)
        if place % 4 == 0:
            axes.set_ylabel("accuracy, %")
    _legend_below(figure, len(runs))
    return _svg(figure, "robustness")


class Strip(NamedTuple):
    """One image under a distortion of several amounts; images are (H, W, 1 or 3) from 0 to 1."""

    name: str
    amounts: Sequence[float]
    images: "Sequence[NDArray[np.float32]]"


def distortions_plot(strips: Sequence[Strip]) -> str:
    """Show an image under each distortion, a row for each, by amount."""
    import numpy as np

    most = max(len(strip.amounts) for strip in strips)
    height, width = strips[0].images[0].shape[:2]
    figure, panels = _panels(len(strips), 2, 0.6 * most * width / height, 0.95)
    for axes, strip in zip(panels, strips, strict=True):
        framed = [np.pad(image, ((0, 0), (1, 1), (0, 0)), constant_values=1) for image in strip.images]
        row = np.concatenate(framed, 1).repeat(ENLARGED, 0).repeat(ENLARGED, 1)
        wide = width + 2
        axes.imshow(
            row.squeeze(), cmap="gray", vmin=0, vmax=1, interpolation="none", extent=(0, wide * len(framed), height, 0)
        )
        axes.set_xlim(0, wide * most)
        axes.set_xticks([wide * (at + 0.5) for at in range(len(framed))], [f"{a:g}" for a in strip.amounts], fontsize=8)
        axes.set_yticks([])
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        axes.set_title(_title(strip.name), fontsize=9, loc="left")
    return _svg(figure, "distortions")


def deleted_blocks(tables: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """Plot accuracy against the number of deleted blocks of trained networks, a line for each.

    Bars are a standard deviation.

    Args:
        tables: by network name, rows of `blocks`, `test/acc` (a mean over draws) and `sd`, as
            `Run.evaluate(lesion="blocks:4")` returns them.
    """
    from matplotlib.ticker import MaxNLocator

    figure, axes = _figure(5.4)
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


def single_blocks(tables: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """Plot accuracy without each block of trained networks, in order of depth; dotted: the whole network.

    Args:
        tables: by network name, rows of `test/acc`, the intact network first, as
            `Run.evaluate(lesion="each_block")` returns them; blocks that cannot be deleted are left out.
    """
    figure, axes = _figure(6.4)
    for (name, (intact, *rows)), colour in zip(tables.items(), cycle(PALETTE), strict=False):
        points = [
            (100 * i / len(rows), 100 * r["test/acc"]) for i, r in enumerate(rows, 1) if r["test/acc"] is not None
        ]
        axes.plot(*zip(*points, strict=True), color=colour, label=name, marker=".")
        axes.axhline(100 * intact["test/acc"], color=colour, linestyle=":", linewidth=1)
    axes.set_xlabel("place of the deleted block, % of the depth")
    axes.set_ylabel("test accuracy, %")
    axes.set_ylim(0, 100)
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    return _svg(figure, "single-blocks")


def _title(distortion: str) -> str:
    return distortion.replace("mnist_c/", "MNIST-C: ").replace("_", " ")


def _figure(width: float) -> "tuple[Figure, Axes]":
    from matplotlib.figure import Figure

    figure = Figure((width, 3.4))
    axes = figure.add_subplot()
    _plain(axes)
    return figure, axes


def _panels(count: int, most: int, width: float, height: float, below: float = 0) -> "tuple[Figure, list[Axes]]":
    """Make `count` axes, at most `most` in a row, each `width` by `height` inches, with `below` inches below them."""
    from matplotlib.figure import Figure

    columns = min(most, count)
    lines = -(-count // columns)
    figure = Figure((width * columns, height * lines + below), layout="constrained")
    return figure, [figure.add_subplot(lines, columns, place + 1) for place in range(count)]


def _legend_below(figure: "Figure", columns: int) -> None:
    """Put a legend that all panels share below them."""
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=columns, frameon=False)


def _plain(axes: "Axes") -> None:
    """Hide the upper and right edges of the frame, and draw a faint grid."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)


def _svg(figure: "Figure", name: str) -> str:
    """Return the figure's svg element, with text as text, and ids unique to `name`."""
    from matplotlib import rc_context

    out = io.StringIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": name, "svg.id": name}):
        figure.savefig(out, format="svg", bbox_inches="tight", metadata={"Date": None})
    text = out.getvalue()
    return text[text.index("<svg") :]
