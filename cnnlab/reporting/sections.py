"""What the report of a study consists of: one function for each section."""

import shlex
from math import log

from cnnlab.reporting import charts
from cnnlab.reporting.comparison import COSTS, method, notes, paper_table, table
from cnnlab.reporting.forest import Forest, Row
from cnnlab.reporting.images import images
from cnnlab.reporting.measure import measure
from cnnlab.reporting.section import Bullets, Code, Data, Figure, Section
from cnnlab.reporting.spread import spread
from cnnlab.reporting.study import Study
from cnnlab.reporting.tables import Table
from cnnlab.reporting.verdicts import missing, seeds_to_decide, sentences


def sections(study: Study) -> list[Section]:
    """The sections in order; one that has nothing to show is left out."""
    parts = [
        verdict(study), comparison(study), costs(study), curves(study), spread(study), images(study), runs(study),
        made(study),
    ]  # fmt: skip
    return [section for section in parts if section.blocks]


def verdict(study: Study) -> Section:
    """Say what was found, and plot it."""
    section = Section("Verdict", [*missing(study)])
    kinds, lines = zip(*sentences(study), strict=True)
    section.blocks.append(Bullets(list(lines), list(kinds)))
    if forest := _forest(study):
        caption = f"Differences from {study.baseline}. {forest.legend()}."
        section.blocks.append(Figure("differences", forest.html(), caption, forest.picture()))
    if decide := seeds_to_decide(study):
        line, command = decide
        section.blocks += [f"{line} This adds them:", Code(command)] if command else [line]
    return section


def _forest(study: Study) -> Forest | None:
    written = measure(study.metric)
    lesions = any(c.lesion is not None for c in study.comparisons)
    rows = []
    for comparison in study.comparisons:
        difference, judgement = comparison.difference, comparison.judgement
        if difference is None or judgement is None:
            continue
        low, high = judgement.low, judgement.high
        ends = f" ({written.between(low, high)})" if low is not None and high is not None else ""
        lesion = comparison.lesion
        rows.append(
            Row(
                comparison.variant.name,
                judgement.verdict,
                written.factor * difference.mean,
                None if low is None else written.factor * low,
                None if high is None else written.factor * high,
                written.signed(difference.mean) + ends,
                None if lesion is None else written.factor * lesion,
                "" if lesion is None else f"lesion {written.signed(lesion)}",
            )
        )
    label = f"{written.name} less that of {study.baseline}" + (f", {written.points}" if written.unit else "")
    margin = None if study.margin is None else written.factor * study.margin
    other = "lesion: the same layers silenced in the trained baseline" if lesions else ""
    return Forest(rows, label, other, margin) if rows else None


def comparison(study: Study) -> Section:
    """Compare all variants with the baseline, in numbers."""
    rows = Table({k: v for k, v in row.items() if k not in COSTS} for row in table(study))
    full = Data("comparison", rows, f"Variants compared with {study.baseline}")
    short = Data("comparison", *paper_table(study), media=("tex",))
    return Section("Comparison", [full, short, *notes(study), *method(study)])


def costs(study: Study) -> Section:
    """Set accuracy against what variants cost."""
    written = measure(study.metric)
    rows = Table({k: v for k, v in row.items() if k in ("variant", written.column, *COSTS)} for row in table(study))
    figures = []
    for size, label in (("params", "parameters"), ("macs", "multiply-adds per image")):
        dots = []
        for c in study.comparisons:
            value, spread = c.metrics.get(study.metric, (None, None))
            cost = getattr(c.variant, size)
            if value is not None and cost:
                kind = c.judgement.verdict if c.judgement else "baseline"
                name, factor = c.variant.name, written.factor
                dots.append(charts.Dot(name, kind, cost, factor * value, factor * (spread or 0)))
        figures.append(charts.scatter(dots, label, written.axis))
    lead = "Bars are a standard deviation over seeds; names are left out where they would overlap."
    html = f'<div class="panels wide">{"".join(f"<div>{svg}</div>" for svg in figures)}</div>'
    return Section("Costs", [Data("costs", rows, "Costs of the variants"), Figure("capacity", html, lead)])


def curves(study: Study) -> Section:
    """Plot validation accuracy and both losses by epoch."""
    caption = f"Mean over seeds; the band goes from the lowest to the highest. Grey: {study.baseline}."
    accuracy = charts.curves(study.curves, "val/acc", study.baseline, "validation accuracy, %", 100)
    figures = [Figure("curves", accuracy, caption)]
    for scalar, label in {"train/loss": "training loss", "val/loss": "validation loss"}.items():
        html = charts.curves(study.curves, scalar, study.baseline, label, warp=log)
        figures.append(Figure(label.replace(" ", "-"), html, f"{label.capitalize()}, on a logarithmic axis."))
    return Section("Learning curves", [figure for figure in figures if figure.html])


def runs(study: Study) -> Section:
    """List the runs, as in `results.csv`."""
    return Section("Runs", [Data("runs", study.rows, "Runs", media=("html",))])


def made(study: Study) -> Section:
    """Say what was run and how to run it again."""
    seeds = sorted({row["seed"] for row in study.rows})
    dense = len(seeds) > 2 and seeds[-1] - seeds[0] == len(seeds) - 1
    names = f"{seeds[0]} to {seeds[-1]}" if dense else ", ".join(map(str, seeds))
    span = f", {study.began} to {study.ended} UTC" if study.began else ""
    what = f"{len(study.rows)} runs of {len(study.comparisons)} variants, seeds {names}{span}. This runs it again:"
    versions = ", ".join(f"{k} {v}" for k, v in study.versions.items())
    return Section("How this was made", [what, Code(shlex.join(study.command)), *([versions] if versions else [])])
