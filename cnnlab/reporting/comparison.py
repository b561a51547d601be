"""A study's comparison as rows, and the sentences that go with it; the same for terminal, Markdown and HTML."""

import shlex
from collections.abc import Sequence

from cnnlab.reporting import units
from cnnlab.reporting.folds import fold_remarks
from cnnlab.reporting.statistics import needed, seeds_needed
from cnnlab.reporting.study import Comparison, Study
from cnnlab.reporting.tables import Table, show
from cnnlab.runs.metrics import METRICS

MANY = 100  # seeds


def table(study: Study) -> Table:
    """A row for each variant; accuracies in percent, their differences in points, other metrics in their own unit."""
    reference = next(c for c in study.comparisons if c.variant.name == study.baseline)
    return Table(_row(c, reference, study) for c in study.comparisons)


def _row(comparison: Comparison, reference: Comparison, study: Study) -> dict[str, object]:
    variant, difference = comparison.variant, comparison.difference
    split, _, compared = study.metric.partition("/")
    measure = study.measure
    level, deviation = comparison.metrics.get(study.metric, (None, None))
    row: dict[str, object] = {"variant": variant.name, "removed": " ".join(variant.removed)}
    row["seeds"] = len({run["seed"] for run in comparison.runs})
    if study.folds:
        row["folds"] = len({run["fold"] for run in comparison.runs})
    row[units.column(measure)] = units.value(measure, level)
    row["sd"] = units.value(measure, deviation)
    if compared == "acc":
        row["error %"] = None if level is None else _percent(1 - level)
    accuracies = [f"{stage}/acc" for stage in ("test", "val") if study.folds or stage == split]
    for accuracy in accuracies:
        if accuracy != study.metric and any(accuracy in c.metrics for c in study.comparisons):
            row[f"{accuracy.replace('/', ' ')} %"] = _percent(comparison.metrics.get(accuracy, (None, None))[0])
    top5 = f"{split}/top5_acc"
    if top5 != study.metric and any(top5 in c.metrics for c in study.comparisons):
        row["top-5 %"] = _percent(comparison.metrics.get(top5, (None, None))[0])
    for name in (n for n in _own_metrics(study, split) if n != compared):
        value = comparison.metrics.get(f"{split}/{name}", (None, None))[0]
        row[_column(name)] = None if value is None else round(value, 4)
    row["difference"] = units.difference(measure, difference.mean) if difference else None
    row["95 % interval"] = None
    if difference and difference.low is not None and difference.high is not None:
        row["95 % interval"] = _interval(study, difference.low, difference.high)
    row["p"] = difference.p if difference else None
    judgement = comparison.judgement
    row["interval for all"] = None
    if judgement and judgement.low is not None and judgement.high is not None:
        row["interval for all"] = _interval(study, judgement.low, judgement.high)
    row["p (Bonferroni)" if study.folds else "p (max-T)"] = judgement.p if judgement else None
    row["verdict"] = judgement.verdict if judgement else "baseline" if comparison is reference else "no runs yet"
    if any(c.lesion is not None for c in study.comparisons):
        row["lesion"] = _points(comparison.lesion) if comparison.lesion is not None else None
    seconds = [c.metrics.get("fit_seconds", (None, None))[0] for c in (comparison, reference)]
    costs: dict[str, Sequence[float | None]] = {
        "params": (variant.params, reference.variant.params),
        "macs": (variant.macs, reference.variant.macs),
        "fit seconds": seconds,
    }
    for name, (value, baseline) in costs.items():
        row[name] = round(value, 1) if isinstance(value, float) else value
        changed = value is not None and baseline and comparison is not reference
        row[f"{name} change"] = f"{value / baseline - 1:+.1%}" if changed and value and baseline else None
    return row


def _own_metrics(study: Study, split: str) -> list[str]:
    """Return the names of the metrics that runs have beside those that ship."""
    found = dict.fromkeys(key for c in study.comparisons for key in c.metrics if key.startswith(f"{split}/"))
    return [name for key in found if (name := key.partition("/")[2]) not in ("loss", "acc", "top5_acc")]


def _column(name: str) -> str:
    """Return a metric's name, with which way is better where the module that registers it is imported."""
    if name not in METRICS:
        return name
    return f"{name} ({'higher' if METRICS[name].higher_is_better else 'lower'} is better)"


def _percent(fraction: float | None) -> float | None:
    return None if fraction is None else round(100 * fraction, 3)


def _points(fraction: float) -> str:
    return f"{100 * fraction:+.2f}"


def _interval(study: Study, low: float, high: float) -> str:
    return f"{units.difference(study.measure, low)} to {units.difference(study.measure, high)}"


def _measured(study: Study) -> str:
    """Say what variants are compared by, to begin a sentence."""
    stage = "test" if study.metric.startswith("test/") else "validation"
    better = "" if study.measure.percent else f" ({'higher' if study.measure.higher_is_better else 'lower'} is better)"
    word = units.word(study.measure)
    return f"{word[0].upper()}{word[1:]} on {stage} images{better}"


def remarks(study: Study) -> list[str]:
    """What a reader has to know to read the table."""
    others = [c for c in study.comparisons if c.difference]
    unit = units.unit(study.measure)
    lines = [
        f"{_measured(study)}, mean and standard deviation (sd) over seeds; the checkpoint was chosen on "
        f"validation images. Differences from {study.baseline} are paired by seed, {unit}. The 95 % "
        "interval and p are those of an exact sign-flip test of each variant by itself, inverted for the interval, so "
        "that 0 lies in it exactly where p is at least 0.05. The interval for all and p (max-T) count all variants "
        "together (step-down max-T, Westfall & Young 1993, on the same sign flips); the verdict is theirs. They assume "
        "that where nothing differs the differences of all variants are jointly symmetric about 0: skewed differences "
        "are covered less often than 95 %. The spread is that over seeds, on one validation split and one test set."
    ]
    if study.folds:
        seeds = len({row["seed"] for row in study.rows})
        lines = [fold_remarks(study.baseline, _measured(study), unit, study.folds, seeds)]
        return lines + _margin(study) + _rest(study)
    few = [c for c in others if c.difference and c.difference.seeds < seeds_needed()]
    if few:
        lines.append(
            f"Too few seeds for a verdict on {_names(few)}: below {seeds_needed()} seeds there is no 95 % interval, "
            "since even differences of one sign on every one of n seeds have p = 2 / 2^n."
        )
    return lines + _margin(study) + _seeds_to_decide(study, others) + _rest(study)


def _margin(study: Study) -> list[str]:
    """Say what the verdicts mean that a margin adds."""
    if study.margin is None:
        return []
    margin = units.difference(study.measure, study.margin)[1:] + (" points" if study.measure.percent else "")
    return [
        f"Equivalent: the interval for all lies within {margin} of 0. Negligible or worse (better): it lies on one "
        "side of that margin, and not on the other."
    ]


def _rest(study: Study) -> list[str]:
    """Say what is to be known of lesions, of variants that cannot be, and of runs that are missing."""
    lines = []
    if any(c.lesion is not None for c in study.comparisons):
        lines.append(
            "Lesion: the change of accuracy, in points, when the trained baseline has the same layers silenced (their "
            "output replaced by its mean over validation images) and nothing is trained again."
        )
    lines += [f"Left out: {v.name} cannot be: {v.reason}" for v in study.invalid]
    if study.unfinished:
        lines.append(f"{len(study.unfinished)} of {len(study.rows)} runs are not completed: {_why(study.unfinished)}")
    return lines


def _seeds_to_decide(study: Study, others: Sequence[Comparison]) -> list[str]:
    """Say how many seeds would decide what is inconclusive, at the deviation seen, and how to add them."""
    wanted = {}
    for comparison in others:
        difference, judgement = comparison.difference, comparison.judgement
        if difference and judgement and judgement.verdict not in ("worse", "better", "equivalent", "too few seeds"):
            wanted[comparison.variant.name] = needed(difference, judgement, study.margin)
    if not wanted:
        return []
    some = ", ".join(f"{name} {n if n <= MANY else f'over {MANY}'}" for name, n in wanted.items())
    line = f"Seeds that would decide, at the deviation seen: {some}."
    reachable = [n for n in wanted.values() if n <= MANY]
    if reachable and "cnnlab.train" in study.command:
        seeds = sorted({int(row["seed"]) for row in study.rows})
        every = seeds + [n for n in range(max(seeds) + max(reachable)) if n not in seeds][: max(reachable) - len(seeds)]
        given = [part for part in study.command if not part.startswith(("seed=", "study.seeds="))]
        command = shlex.join([*given, f"study.seeds=[{','.join(map(str, sorted(every)))}]"])
        line += f" This adds them: {command}"
    return [line]


def _names(comparisons: Sequence[Comparison], shown: int = 5) -> str:
    names = [c.variant.name for c in comparisons]
    return ", ".join(names[:shown]) + (f" and {len(names) - shown} more" if len(names) > shown else "")


def _why(rows: Sequence[dict[str, object]]) -> str:
    return "; ".join(
        f"{row['variant']} s{show(row['seed'])}{_fold(row)} {row['status']}"
        + (f" ({row['cause']})" if row["cause"] else "")
        for row in rows
    )


def _fold(row: dict[str, object]) -> str:
    return f" fold {row['fold']}" if "fold" in row else ""
