"""Plots of robustness, of distortions, of lesions and of functions, as SVG text."""

import io
from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

PALETTE = ("#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd", "#8c564b", "#e377c2", "#7f7f7f", "#bcbd22", "#17becf")

ENLARGED = 2  # pixels in a picture for one of an image, or a browser blurs it


Curve = tuple[list[float], list[float], list[float]]  # places, values there, derivatives there


def function_plot(curves: Mapping[str, Curve]) -> str:
    """Functions of one number, a panel for each, with their derivatives dashed."""
    from matplotlib.figure import Figure

    columns = min(7, len(curves))
    lines = -(-len(curves) // columns)
    figure = Figure((1.8 * columns, 1.8 * lines + 0.4), layout="constrained")
    for place, (name, (x, y, slope)) in enumerate(curves.items()):
        axes = figure.add_subplot(lines, columns, place + 1)
        _plain(axes)
        axes.axhline(0, color="grey", linewidth=0.6)
        axes.axvline(0, color="grey", linewidth=0.6)
        axes.plot(x, y, color=PALETTE[0], label="value")
        axes.plot(x, slope, color=PALETTE[1], linestyle="--", linewidth=1.2, label="derivative")
        axes.set_ylim(-2.2, 4.2)
        axes.set_title(name, fontsize=10)
        axes.tick_params(labelsize=7)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False)
    return _svg(figure, "functions")


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
        axes.set_title(_title(name), fontsize=10)
        axes.set_ylim(0, 102)
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
        if place % columns == 0:
            axes.set_ylabel("accuracy, %")
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(runs), frameon=False)
    return _svg(figure, "robustness")


class Strip(NamedTuple):
    """An image under a distortion by each of some amounts; images are (H, W, 1 or 3) from 0 to 1."""

    name: str
    amounts: Sequence[float]
    images: "Sequence[NDArray[np.float32]]"


def distortions_plot(strips: Sequence[Strip]) -> str:
    """Show an image under each distortion, a row for each, by amount."""
    import numpy as np
    from matplotlib.figure import Figure

    columns = min(2, len(strips))
    lines = -(-len(strips) // columns)
    most = max(len(strip.amounts) for strip in strips)
    height, width = strips[0].images[0].shape[:2]
    figure = Figure((0.6 * most * columns * width / height, 0.95 * lines), layout="constrained")
    for place, strip in enumerate(strips):
        axes = figure.add_subplot(lines, columns, place + 1)
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


def single_blocks(tables: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """Accuracy without each block of trained networks, in order of depth; dotted: the whole network.

    Args:
        tables: by name of the network, rows of `test/acc`, the intact network first, as
            `Run.evaluate(lesion="each_block")` returns them; blocks that cannot be deleted are left out.
    """
    figure, axes = _figure(6.4, 3.4)
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
