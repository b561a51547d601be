"""Tabulate a study's comparison, with notes on how to read it."""

from collections.abc import Sequence

from cnnlab.reporting.folds import fold_remarks
from cnnlab.reporting.statistics import seeds_needed
from cnnlab.reporting.study import Comparison, Study
from cnnlab.reporting.tables import Table
from cnnlab.runs.metrics import METRICS

COSTS = ("params", "params change", "macs", "macs change", "fit seconds", "fit seconds change")  # columns
MARKS = {
    "worse": "↓",
    "better": "↑",
    "equivalent": "≈",
    "negligible or worse": "≲",
    "negligible or better": "≳",
}


def table(study: Study) -> Table:
    """Make a row for each variant, formatted by `measure`: accuracies in percent, their differences in points."""
    return Table(_row(c, study) for c in study.comparisons)


def _row(comparison: Comparison, study: Study) -> dict[str, object]:
    unit, reference = study.unit, study.reference
    variant, difference, judgement = comparison.variant, comparison.difference, comparison.judgement
    split, _, compared = study.metric.partition("/")
    value, sd = comparison.metrics.get(study.metric, (None, None))
    row: dict[str, object] = {"variant": variant.name, "removed": " ".join(variant.removed)}
    row["seeds"] = len({run["seed"] for run in comparison.runs})
    if study.plan.folds:
        row["folds"] = len({run["fold"] for run in comparison.runs})
    row[unit.column] = _rounded(value, unit.digits + 1, unit.factor)
    row["sd"] = _rounded(sd, unit.digits + 1, unit.factor)
    accuracies = {f"{stage}/acc": f"{stage} acc %" for stage in ("test", "val") if study.plan.folds or stage == split}
    for name, column in (accuracies | {f"{split}/top5_acc": "top-5 %"}).items():
        if name != study.metric and any(name in c.metrics for c in study.comparisons):
            row[column] = _rounded(comparison.mean(name), 3, 100)
    for name in (n for n in _custom_metrics(study, split) if n != compared):
        row[_column(name)] = _rounded(comparison.mean(f"{split}/{name}"), 4)
    row["difference"] = unit.signed(difference.mean) if difference else None
    row["95 % interval"] = difference and unit.between(difference.low, difference.high)
    row["p"] = difference.p if difference else None
    row["interval for all"] = judgement and unit.between(judgement.low, judgement.high)
    row["p (Bonferroni)" if study.plan.folds else "p (max-T)"] = judgement.p if judgement else None
    row["verdict"] = judgement.verdict if judgement else "baseline" if comparison is reference else "no runs yet"
    if any(c.lesion is not None for c in study.comparisons):
        row["lesion"] = f"{100 * comparison.lesion:+.2f}" if comparison.lesion is not None else None
    costs: dict[str, tuple[float | None, float | None]] = {
        "params": (variant.params, reference.variant.params),
        "macs": (variant.macs, reference.variant.macs),
        "fit seconds": (comparison.mean("fit_seconds"), reference.mean("fit_seconds")),
    }
    for name, (cost, baseline) in costs.items():
        row[name] = round(cost, 1) if isinstance(cost, float) else cost
        other = comparison is not reference
        row[f"{name} change"] = f"{cost / baseline - 1:+.1%}" if cost and baseline and other else None
    return row


def _custom_metrics(study: Study, split: str) -> list[str]:
    """Return the names of the runs' metrics that do not ship with cnnlab."""
    found = dict.fromkeys(key for c in study.comparisons for key in c.metrics if key.startswith(f"{split}/"))
    return [name for key in found if (name := key.partition("/")[2]) not in ("loss", "acc", "top5_acc")]


def _column(name: str) -> str:
    """Return a metric's column head, which says whether higher or lower is better if the metric is registered."""
    if name not in METRICS:
        return name
    return f"{name} ({'higher' if METRICS[name].higher_is_better else 'lower'} is better)"


def _rounded(value: float | None, digits: int, factor: float = 1) -> float | None:
    return None if value is None else round(factor * value, digits)


def paper_table(study: Study) -> tuple[Table, str]:
    """Make a table with fewer columns for a paper, and its caption."""
    unit = study.unit
    counts = {len(c.runs) for c in study.comparisons}
    capacities = {c.variant.params for c in study.comparisons}
    rows = Table()
    for comparison in study.comparisons:
        value, sd = comparison.metrics.get(study.metric, (None, None))
        difference, judgement = comparison.difference, comparison.judgement
        row: dict[str, object] = {"variant": comparison.variant.name}
        if len(capacities) > 1:
            row["parameters"] = comparison.variant.params
        if len(counts) > 1:
            row["seeds"] = len(comparison.runs)
        spread = f" ± {unit.number(sd)}" if sd is not None else ""
        row[unit.axis] = None if value is None else unit.number(value) + spread
        row[unit.steps] = unit.signed(difference.mean) if difference else None
        row["95 % interval"] = judgement and unit.between(judgement.low, judgement.high)
        row["verdict"] = MARKS.get(judgement.verdict) if judgement else None
        rows.append(row)
    verdicts = {c.judgement.verdict for c in study.comparisons if c.judgement}
    seeds = f" over {min(counts)} seeds" if len(counts) == 1 else ""
    marks = [f"{mark} {verdict}" for verdict, mark in MARKS.items() if verdict in verdicts]
    if "inconclusive" in verdicts:
        marks.append("no mark: inconclusive")
    margin = f" (margin: {unit.amount(study.plan.margin)})" if study.plan.margin is not None else ""
    how = "paired by seed, with simultaneous 95 % intervals (step-down max-T over sign flips)"
    if study.plan.folds:
        how = "paired by fold, with simultaneous 95 % intervals (corrected resampled t test, Bonferroni)"
    caption = (
        f"{_capital(unit.name)}: mean ± standard deviation{seeds}, and differences from {study.plan.baseline}, {how}. "
    )
    return rows, caption + (f"{'; '.join(marks)}{margin}." if marks else "Too few seeds for verdicts.")


def method(study: Study) -> list[str]:
    """Explain how the table's numbers were computed, and what they assume."""
    unit = study.unit
    points = ", in percentage points" if unit.unit else ""
    if study.plan.folds:
        seeds = len({row["seed"] for row in study.rows})
        return [fold_remarks(study.plan.baseline, _capital(unit.name), points, study.plan.folds, seeds)]
    return [
        f"{_capital(unit.name)}: mean and standard deviation (sd) over seeds; the checkpoint was chosen on "
        f"validation images. Differences from {study.plan.baseline} are paired by seed{points}. The spread is that "
        "over seeds, on one validation split and one test set.",
        "The 95 % interval and p are those of an exact sign-flip test of each variant by itself, inverted for the "
        "interval, so that 0 lies in it exactly where p is at least 0.05. The interval for all and p (max-T) count "
        "all variants together (step-down max-T, Westfall & Young 1993, on the same sign flips); the verdict is "
        "theirs. They assume that where nothing differs the differences of all variants are jointly symmetric about "
        "0: skewed differences are covered less often than 95 %.",
    ]


def notes(study: Study) -> list[str]:
    """Explain this study's table: missing verdicts, the margin, and lesions."""
    lines = []
    few = [c for c in study.comparisons if c.difference and c.difference.seeds < seeds_needed()]
    if few and not study.plan.folds:
        lines.append(
            f"Too few seeds for a verdict on {_names(few)}: below {seeds_needed()} seeds there is no 95 % interval, "
            "since even differences of one sign on every one of n seeds have p = 2 / 2^n."
        )
    if study.plan.margin is not None:
        lines.append(
            f"Equivalent: the interval for all lies within {study.unit.amount(study.plan.margin)} of 0. "
            "Negligible or worse (better): it lies on one side of that margin, and not on the other."
        )
    if any(c.lesion is not None for c in study.comparisons):
        lines.append(
            "Lesion: the change of accuracy, in points, when the trained baseline has the same layers silenced (their "
            "output replaced by its mean over validation images) and nothing is trained again."
        )
    return lines


def _names(comparisons: Sequence[Comparison], shown: int = 5) -> str:
    names = [c.variant.name for c in comparisons]
    return ", ".join(names[:shown]) + (f" and {len(names) - shown} more" if len(names) > shown else "")


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
