"""Make the section on sources of the spread, and on intervals that take the test images as a sample, too."""

from cnnlab.reporting.hits import Hits, hits
from cnnlab.reporting.measure import Written
from cnnlab.reporting.section import Data, Section
from cnnlab.reporting.study import Comparison, Study
from cnnlab.reporting.tables import Table
from cnnlab.reporting.variance import Sources, images_error, sources, with_images


def spread(study: Study) -> Section:
    """Split the baseline's spread into its sources; an empty section where its runs kept no answers."""
    section, base = Section("Where the spread comes from"), hits(study, study.plan.baseline)
    if base is None or study.metric.partition("/")[2] != "acc":
        return section
    one_split = hits(study, study.plan.one_split) if study.plan.one_split else None
    found = sources(base.right, one_split.right if one_split else None)
    unit, images = study.unit, base.right.shape[1]
    section.blocks += [
        f"The accuracy of {study.plan.baseline} over {len(base.seeds)} runs, and what moves it. The verdicts above "
        f"count the first row only: they hold for these {images:,} images.",
        Data("sources", _sources(found, unit, images), "Sources of the spread, standard deviations"),
    ]
    rows = Table(filter(None, (_intervals(c, base, study, unit) for c in study.comparisons)))
    if rows:
        section.blocks += [
            "Differences of each variant by itself, with the 95 % interval over runs, and with one that takes the "
            "images as a sample, too: what to expect on other images of the same kind. The squares of the two "
            "half-widths, that over runs and that of the images, are added.",
            Data("images-sampled", rows, "Differences with intervals over runs, and over runs and images"),
        ]
    return section


def _sources(found: Sources, unit: Written, images: int) -> Table:
    """Make a row for each source."""

    def row(source: str, sd: float | None, meaning: str) -> dict[str, object] | None:
        number = None if sd is None else unit.number(sd)
        return None if number is None else {"source": source, f"sd, {unit.points}": number, "what it is": meaning}

    together = "seeds and validation splits" if found.seeds is not None else "seeds"
    seeds = "initial weights, order and augmentation; runs on one validation split"
    split = "what a validation split of its own adds: the variance of the first row less that of the second"
    finite = f"the part of the first row that is chance on {images:,} images, and falls as 1/N with their number"
    choice = f"of the mean accuracy, had other {images:,} images been drawn; more runs do not lessen it"
    rows = [
        row(together, found.runs, "over runs, as seen"),
        row("seeds", found.seeds, seeds),
        row("validation split", found.split, split),
        row("finite images", found.finite, finite),
        row("choice of images", found.images, choice),
    ]
    return Table(filter(None, rows))


def _intervals(comparison: Comparison, base: Hits, study: Study, unit: Written) -> dict[str, object] | None:
    """Compute the two intervals of a variant's difference; None where there is nothing to compare."""
    own, difference = hits(study, comparison.variant.name), comparison.difference
    if own is None or difference is None or own.right.shape[1] != base.right.shape[1]:
        return None
    pairs = [(own.seeds.index(seed), base.seeds.index(seed)) for seed in own.seeds if seed in base.seeds]
    if len(pairs) < 2:
        return None
    own_rows, base_rows = (list(side) for side in zip(*pairs, strict=True))
    error = images_error(own.right[own_rows].astype("int8") - base.right[base_rows])
    wide = with_images(difference, error)
    return {
        "variant": comparison.variant.name,
        "difference": unit.signed(difference.mean),
        "95 % over runs": unit.between(difference.low, difference.high),
        "95 % over runs and images": None if wide is None else unit.between(*wide),
    }
