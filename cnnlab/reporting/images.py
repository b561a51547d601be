"""Make the section on the images and classes that a variant loses."""

import numpy as np
from numpy.typing import NDArray

from cnnlab.reporting.hits import class_names, hits
from cnnlab.reporting.section import Data, Section
from cnnlab.reporting.study import Study
from cnnlab.reporting.tables import Table

SHOWN = 8  # images named for each variant
WIDE = 12  # classes up to which each has a column


def images(study: Study) -> Section:
    """List images that the baseline gets right and a variant wrong on most seeds, and differences by class."""
    section, base = Section("Which images"), hits(study, study.plan.baseline)
    if base is None:
        return section
    names = class_names(study) or [str(label) for label in range(int(base.labels.max()) + 1)]
    mostly, rarely = base.right.mean(0) > 0.5, base.right.mean(0) < 0.5
    changes, by_class = Table(), Table()
    for comparison in study.comparisons:
        own = hits(study, comparison.variant.name)
        if own is None or not np.array_equal(own.labels, base.labels):
            continue
        change = own.right.mean(0) - base.right.mean(0)
        classes = {name: change[base.labels == label].mean() for label, name in enumerate(names)}
        accuracy = {name: own.right[:, base.labels == label].mean() for label, name in enumerate(names)}
        if comparison.variant.name == study.plan.baseline:
            by_class.append(
                {"variant": f"{study.plan.baseline}, %"} | {k: f"{100 * v:.1f}" for k, v in accuracy.items()}
            )
            continue
        lost, won = mostly & (own.right.mean(0) < 0.5), rarely & (own.right.mean(0) > 0.5)
        changes.append(
            {
                "variant": comparison.variant.name,
                "lost": int(lost.sum()),
                "won": int(won.sum()),
                "lost images, the surest first": _named(lost, change, base.labels, names),
            }
        )
        by_class.append({"variant": comparison.variant.name} | {k: f"{100 * v:+.1f}" for k, v in classes.items()})
    if not changes:
        return section
    shown = [name for name in names if any(row.get(name) not in (None, "nan", "+nan") for row in by_class)]
    if len(shown) > WIDE:
        size = {n: max(abs(float(row[n])) for row in by_class[1:]) for n in shown}
        shown = sorted(sorted(shown, key=lambda n: -size[n])[:WIDE], key=shown.index)
    kind = study.unit.name.split()[0]
    section.blocks += [
        f"Lost: {kind} images that {study.plan.baseline} gets right on more than half of its seeds and the variant on "
        "fewer than half; won: the other way round. An image is named by its place in the data, from 0, and its class.",
        Data("images", changes, "Images lost and won"),
        f"Accuracy of {study.plan.baseline} in each class, and the differences of the others in points"
        + (f"; the {WIDE} classes of {len(names)} that change most." if len(shown) < len(names) else "."),
        Data("classes", Table({k: v for k, v in row.items() if k in ("variant", *shown)} for row in by_class),
             "Differences by class"),
    ]  # fmt: skip
    return section


def _named(lost: NDArray[np.bool_], change: NDArray[np.float64], labels: NDArray[np.int16], names: list[str]) -> str:
    """Name the lost examples whose share of right answers falls most."""
    places = np.flatnonzero(lost)
    places = places[np.argsort(change[places], kind="stable")][:SHOWN]
    return ", ".join(f"{place} ({names[labels[place]]})" for place in places)
