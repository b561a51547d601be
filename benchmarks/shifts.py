"""What a shift by two pixels does to LeNet-5 with and without pooling: layer by layer, and to its answers.

python -m cnnlab.train ablation=shift trainer.max_epochs=2
python benchmarks/shifts.py outputs/studies/shift

Prints tables over the seeds of each variant, and writes docs/shifts.svg.
"""

import sys
from collections import defaultdict
from pathlib import Path
from statistics import mean, stdev

from matplotlib import rc_context
from matplotlib.figure import Figure

import cnnlab
from cnnlab.inspection.probe import probes, some
from cnnlab.inspection.shifts import shifts
from cnnlab.reporting.tables import Table
from cnnlab.trained.robustness import robustness
from cnnlab.training.datamodule import DataModule

PICTURE = Path(__file__).parents[1] / "docs/shifts.svg"
PIXELS = 2
Values = dict[str, dict[str, list[float]]]  # by variant and by layer or amount, over seeds


def main(study: str) -> None:
    """Measure every finished run of the study."""
    changes, accuracies, shifted, share = (defaultdict(lambda: defaultdict(list)) for _ in range(4))
    for directory in sorted(path.parent for path in Path(study).glob("*/metrics.json")):
        run = cnnlab.Run.load(directory)
        variant, classifier, data = run.info["variant"], run.classifier(), DataModule(run.config["data"])
        data.setup()
        rows, changed, kept = shifts(classifier, some(data.val, 500).inputs, PIXELS)
        share[variant]["inputs that change"].append(changed)
        share[variant]["answers that stay"].append(kept)
        for row in rows:
            changes[variant][row["layer"]].append(row["change"])
        for row in probes(classifier, some(data.train, 1000), some(data.val, 2000)):
            accuracies[variant][row["layer"]].append(row["accuracy"])
        for row in robustness(run, "shift"):
            shifted[variant][f"{row['amount']:g}"].append(row["accuracy"])
    variants = sorted(changes, key=lambda variant: (-len(changes[variant]), variant))  # that with most layers first
    for title, values in {
        f"Moved by {PIXELS} pixels along an axis, % of inputs and of answers": share,
        "Change of each layer, % of the distance between two images": changes,
        "Linear classifier on each layer, validation accuracy, %": accuracies,
        "Test accuracy, %, moved right and down by so many pixels": shifted,
    }.items():
        print(f"\n{title}\n\n{table(values, variants).markdown()}")
    draw({v: changes[v] for v in variants}, {v: shifted[v] for v in variants})


def table(values: Values, variants: list[str]) -> Table:
    """A row for each layer or amount: mean and standard deviation over seeds of every variant."""
    rows = Table({"": name} for name in values[variants[0]])
    for row in rows:
        for variant in variants:
            found = values[variant].get(row[""])
            row[variant] = None if found is None else f"{100 * mean(found):.1f} ± {100 * stdev(found):.1f}"
    return rows


def draw(changes: Values, shifted: Values) -> None:
    """Two panels: change by layer, accuracy by shift; a line for each variant, bars are a standard deviation."""
    figure = Figure((9, 3.3), layout="constrained")
    for place, (values, x_label, y_label) in enumerate(
        ((changes, "", "change by two pixels, %"), (shifted, "shift right and down, pixels", "test accuracy, %"))
    ):
        axes = figure.add_subplot(1, 2, place + 1)
        names = list(next(iter(values.values())))
        for variant, by_name in values.items():
            own = [name for name in names if name in by_name]
            heights = [100 * mean(by_name[name]) for name in own]
            spread = [100 * stdev(by_name[name]) for name in own]
            axes.errorbar([names.index(n) for n in own], heights, spread, marker=".", capsize=3, label=variant)
        axes.set_xticks(range(len(names)), names)
        axes.set(xlabel=x_label, ylabel=y_label, ylim=(0, 100))
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "shifts"}):
        figure.savefig(PICTURE, metadata={"Date": None})


if __name__ == "__main__":
    main(*sys.argv[1:])
