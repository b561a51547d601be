"""Make the sections of a study's report, one function for each."""

import shlex
from dataclasses import replace
from math import log

from cnnlab.reporting import charts
from cnnlab.reporting.comparison import COSTS, method, notes, paper_table, table
from cnnlab.reporting.forest import Forest, Row
from cnnlab.reporting.images import images
from cnnlab.reporting.interactions import interactions
from cnnlab.reporting.measure import written
from cnnlab.reporting.section import Bullets, Code, Data, Figure, Section
from cnnlab.reporting.spread import spread
from cnnlab.reporting.study import Study
from cnnlab.reporting.tables import Table
from cnnlab.reporting.verdicts import missing, seeds_to_decide, sentences


def sections(study: Study) -> list[Section]:
    """Make the sections in order; one that has nothing to show is left out."""
    parts = [
        verdict(study), comparison(study), interactions(study), costs(study), curves(study), spread(study),
        images(study), tuning(study), runs(study), made(study),
    ]  # fmt: skip
    return [section for section in parts if section.blocks]


def verdict(study: Study) -> Section:
    """State the verdicts, and plot the differences."""
    section = Section("Verdict", [*missing(study)])
    kinds, lines = zip(*sentences(study), strict=True)
    section.blocks.append(Bullets(list(lines), list(kinds)))
    if forest := _forest(study):
        caption = f"Differences from {study.plan.baseline}. {forest.legend()}."
        section.blocks.append(Figure("differences", forest.html(), caption, forest.picture()))
    if decide := seeds_to_decide(study):
        line, command = decide
        section.blocks += [f"{line} This adds them:", Code(command)] if command else [line]
    return section


def _forest(study: Study) -> Forest | None:
    unit = study.unit
    lesions = unit.unit != "" and any(c.lesion is not None for c in study.comparisons)
    rows = []
    for comparison in study.comparisons:
        difference, judgement = comparison.difference, comparison.judgement
        if difference is None or judgement is None:
            continue
        low, high = judgement.low, judgement.high
        ends = f" ({interval})" if (interval := unit.between(low, high)) else ""
        lesion = comparison.lesion if lesions else None
        rows.append(
            Row(
                comparison.variant.name,
                judgement.verdict,
                unit.factor * difference.mean,
                None if low is None else unit.factor * low,
                None if high is None else unit.factor * high,
                unit.signed(difference.mean) + ends,
                None if lesion is None else unit.factor * lesion,
                "" if lesion is None else f"lesion {unit.signed(lesion)}",
            )
        )
    label = f"{unit.name} less that of {study.plan.baseline}" + (f", {unit.points}" if unit.unit else "")
    margin = None if study.plan.margin is None else unit.factor * study.plan.margin
    other = "lesion: the same layers silenced in the trained baseline" if lesions else ""
    return Forest(rows, label, other, margin) if rows else None


def comparison(study: Study) -> Section:
    """Tabulate all variants against the baseline."""
    rows = Table({k: v for k, v in row.items() if k not in COSTS} for row in table(study))
    full = Data("comparison", rows, f"Variants compared with {study.plan.baseline}")
    short = Data("comparison", *paper_table(study), media=("tex",))
    return Section("Comparison", [full, short, *notes(study), *method(study)])


def costs(study: Study) -> Section:
    """Tabulate and plot the compared metric against parameters and multiply-adds."""
    unit = study.unit
    rows = Table({k: v for k, v in row.items() if k in ("variant", unit.column, *COSTS)} for row in table(study))
    figures = []
    for size, label in (("params", "parameters"), ("macs", "multiply-adds per image")):
        dots = []
        for c in study.comparisons:
            value, spread = c.metrics.get(study.metric, (None, None))
            cost = getattr(c.variant, size)
            if value is not None and cost:
                found = c.judgement.verdict if c.judgement else "baseline"
                name, factor = c.variant.name, unit.factor
                dots.append(charts.Dot(name, found, cost, factor * value, factor * (spread or 0)))
        figures.append(charts.scatter(dots, label, unit.axis))
    lead = "Bars are a standard deviation over seeds; names are left out where they would overlap."
    html = f'<div class="panels wide">{"".join(f"<div>{svg}</div>" for svg in figures)}</div>'
    return Section("Costs", [Data("costs", rows, "Costs of the variants"), Figure("capacity", html, lead)])


def curves(study: Study) -> Section:
    """Plot the compared metric on validation data, and both losses, by epoch."""
    caption = f"Mean over seeds; the band goes from the lowest to the highest. Grey: {study.plan.baseline}."
    name = study.metric.partition("/")[2]
    unit = written(replace(study.measure, name=f"val/{name}"))
    compared = charts.curves(study.curves, f"val/{name}", study.plan.baseline, unit.axis, unit.factor)
    figures = [Figure("curves", compared, caption)]
    for scalar, label in {"train/loss": "training loss", "val/loss": "validation loss"}.items():
        if scalar != f"val/{name}":
            html = charts.curves(study.curves, scalar, study.plan.baseline, label, warp=log)
            figures.append(Figure(label.replace(" ", "-"), html, f"{label.capitalize()}, on a logarithmic axis."))
    return Section("Learning curves", [figure for figure in figures if figure.html])


def runs(study: Study) -> Section:
    """List the runs, as in `results.csv`."""
    return Section("Runs", [Data("runs", study.rows, "Runs", media=("html",))])


def tuning(study: Study) -> Section:
    """List the tuning trials of each variant, and the chosen ones."""
    section = Section("Tuning")
    if not study.plan.tuned:
        return section
    budget = len([row for row in study.plan.tuned if row["variant"] == study.plan.tuned[0]["variant"]])
    rows = Table(
        {
            "variant": row["variant"],
            "tried": " ".join(row["overrides"]),
            "val acc %": None if row["val/acc"] is None else round(100 * row["val/acc"], 2),
            "chosen": "chosen" if row["chosen"] else "failed" if row["val/acc"] is None else "",
        }
        for row in study.plan.tuned
    )
    text = (
        f"Each variant, the baseline too, had {budget} trials with one seed of their own. The best by validation "
        "accuracy was run with the seeds of the study; test images had no part in the choice."
    )
    section.blocks += [text, Data("tuning", rows, "Trials before the study")]
    return section


def made(study: Study) -> Section:
    """State the runs, the command that repeats them, and the package versions."""
    seeds = sorted({row["seed"] for row in study.rows})
    dense = len(seeds) > 2 and seeds[-1] - seeds[0] == len(seeds) - 1
    names = f"{seeds[0]} to {seeds[-1]}" if dense else ", ".join(map(str, seeds))
    span = f", {study.began} to {study.ended} UTC" if study.began else ""
    what = f"{len(study.rows)} runs of {len(study.comparisons)} variants, seeds {names}{span}. This runs it again:"
    versions = ", ".join(f"{k} {v}" for k, v in study.versions.items())
    return Section("How this was made", [what, Code(shlex.join(study.plan.command)), *([versions] if versions else [])])
