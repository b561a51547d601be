"""Draw the lectures' table of decision regions: a row for each problem, a column for each depth.

python -m cnnlab.train ablation=hidden_layers
python benchmarks/regions.py outputs/studies/hidden_layers

Shows the regions of seed 0 with some test points, and the mean test accuracy of all seeds; writes docs/regions.png.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure
from PIL import Image

import cnnlab
from cnnlab.inspection.regions import draw_regions
from cnnlab.training.datamodule import DataModule

DOCS = Path(__file__).parents[1] / "docs"
SHOWN = 200  # number of test points
RESOLUTION = 150


def table(study: Path) -> dict[str, dict[int, list[cnnlab.Run]]]:
    """Return the runs of a study by kind of points and number of hidden layers, in the order of the lectures."""
    found: dict[str, dict[int, list[cnnlab.Run]]] = {}
    for path in sorted(study.glob("*/metrics.json")):
        run = cnnlab.Run.load(path.parent)
        hidden = len(run.config["model"]["layers"]) - 1 - len(run.config["model"]["remove"])
        found.setdefault(run.config["data"]["kind"], {}).setdefault(hidden, []).append(run)
    order = ("half_plane", "xor", "convex", "meshed", "two_spirals", "moons")
    return {kind: dict(sorted(found[kind].items())) for kind in order if kind in found}


def draw(problems: dict[str, dict[int, list[cnnlab.Run]]]) -> Figure:
    columns = max(map(len, problems.values()))
    figure = Figure((2.1 * columns + 0.6, 2.2 * len(problems) + 0.2), layout="constrained")
    axes = figure.subplots(len(problems), columns, squeeze=False)
    for index, (row, (kind, by_layers)) in enumerate(zip(axes, problems.items(), strict=True)):
        for place, (hidden, runs) in zip(row, by_layers.items(), strict=True):
            panel(place, min(runs, key=lambda run: run.info["seed"]))
            accuracy = mean([run.metrics["test/acc"] for run in runs])
            layers = ("no hidden layer", "one hidden layer", "two hidden layers")[hidden]
            place.set_title((f"{layers}\n" if index == 0 else "") + f"{100 * accuracy:.1f} %", fontsize=9)
        row[0].set_ylabel(kind.replace("_", " "), fontsize=10)
    return figure


def panel(axes, run: cnnlab.Run) -> None:
    data = DataModule(run.config["data"])
    data.setup()
    draw_regions(axes, run.classifier(), data.test.inputs[:SHOWN], data.test.labels[:SHOWN], RESOLUTION)
    axes.set(xlabel="", ylabel="", xticks=(-1, 0, 1), yticks=(-1, 0, 1))
    axes.tick_params(labelsize=7)
    for points in axes.collections:
        points.set_sizes(points.get_sizes() * 0.5)


def mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("study", type=Path)
    parser.add_argument("--output", type=Path, default=DOCS / "regions.png")
    args = parser.parse_args()
    draw(table(args.study)).savefig(args.output, dpi=100)
    with Image.open(args.output) as picture:  # with a palette it has a third of the size
        few = picture.convert("RGB").quantize(128)
    few.save(args.output, optimize=True)
    print(args.output)


if __name__ == "__main__":
    main()
