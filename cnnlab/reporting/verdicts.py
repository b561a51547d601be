"""What a study found, in sentences: one for each variant, what decides more, and what is missing."""

import shlex
from collections.abc import Sequence

from cnnlab.reporting.measure import Measure, measure
from cnnlab.reporting.statistics import needed
from cnnlab.reporting.study import Comparison, Study
from cnnlab.reporting.tables import show
from cnnlab.runs.plan import Variant

MANY = 100  # seeds
SHOWN = 10  # runs that are named by themselves
NAMED = 4  # removed layers that are
ORDER = ("worse", "better", "equivalent", "negligible or worse", "negligible or better", "inconclusive",
         "too few seeds")  # fmt: skip


def sentences(study: Study) -> list[tuple[str, str]]:
    """Verdict and sentence of each variant, the baseline first, then by verdict, the largest difference first."""
    written = measure(study.metric)
    baseline = next(c for c in study.comparisons if c.variant.name == study.baseline)
    others = [c for c in study.comparisons if c is not baseline]

    def place(comparison: Comparison) -> tuple[int, float]:
        judgement, difference = comparison.judgement, comparison.difference
        verdict = judgement.verdict if judgement else ""
        return (ORDER.index(verdict) if verdict in ORDER else len(ORDER)), -abs(difference.mean if difference else 0)

    lines = [("baseline", _baseline(baseline, written))]
    for comparison in sorted(others, key=place):
        verdict = comparison.judgement.verdict if comparison.judgement else "no runs yet"
        lines.append((verdict, _sentence(comparison, baseline.variant.removed, written, study.margin)))
    return lines


def _baseline(comparison: Comparison, written: Measure) -> str:
    value, deviation = comparison.metrics.get(written.metric, (None, None))
    name = comparison.variant.name
    who = "The baseline" if name == "baseline" else f"{name}, the baseline,"
    if value is None:
        return f"{who} has no completed runs yet."
    spread = f"standard deviation {written.number(deviation)}, " if deviation is not None else ""
    seeds = _seeds(len(comparison.runs))
    return f"{who} has {written.value(value)} {written.name} ({spread}{seeds})."


def _sentence(comparison: Comparison, gone: Sequence[str], written: Measure, margin: float | None) -> str:
    """Say of a variant what its verdict is.

    Args:
        comparison: of the variant.
        gone: the layers that the baseline does without.
        written: how the metric is written.
        margin: of the study.
    """
    removed = [name for name in comparison.variant.removed if name not in gone]
    without = f"Without {_and(removed)}" if _only_removes(comparison.variant) and 0 < len(removed) <= NAMED else ""
    name = comparison.variant.name
    it = f"{without} it" if without else name
    difference, judgement = comparison.difference, comparison.judgement
    if difference is None or judgement is None:
        return f"{name} has no completed runs to compare yet."
    seeds, verb = _seeds(difference.seeds), "loses" if difference.mean < 0 else "gains"
    changes = f"{verb} {written.amount(difference.mean)}"
    if judgement.low is None or judgement.high is None:
        return f"{it} {changes} on {seeds}, too few for a verdict."
    loss, gain = written.amount(judgement.low), written.amount(judgement.high)  # the most that may be
    limit = f"the margin of {written.amount(margin or 0)}"
    match judgement.verdict:
        case "worse":
            ends = f"{written.number(-judgement.high)} to {written.number(-judgement.low)}"
            return f"{it} {changes} ({ends}), {seeds}."
        case "better":
            ends = f"{written.number(judgement.low)} to {written.number(judgement.high)}"
            return f"{it} {changes} ({ends}), {seeds}."
        case "equivalent":
            seen = f"{written.signed(difference.mean)} ({written.between(judgement.low, judgement.high)})"
            return f"{it} changes by less than {limit}: equivalent, {seen}, {seeds}."
        case "negligible or worse":
            return f"{it} may lose up to {loss}, and gains less than {limit}: negligible or worse, {seeds}."
        case "negligible or better":
            return f"{it} may gain up to {gain}, and loses less than {limit}: negligible or better, {seeds}."
    return f"{it} may lose up to {loss} or gain up to {gain}: inconclusive, {seeds}."


def _only_removes(variant: Variant) -> bool:
    return all(override.startswith(("model.remove=", "model.repair=")) for override in variant.overrides)


def _and(names: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def _seeds(count: int) -> str:
    return f"{count} seed{'' if count == 1 else 's'}"


def seeds_to_decide(study: Study) -> tuple[str, str | None] | None:
    """Say how many seeds would decide what is inconclusive, at the deviation seen, and give the command that adds them.

    Returns the sentence, and the command where `cnnlab.train` made the study and so many seeds are not too many; None
    where nothing is inconclusive.
    """
    wanted = {}
    for comparison in study.comparisons:
        difference, judgement = comparison.difference, comparison.judgement
        if difference and judgement and judgement.verdict not in ("worse", "better", "equivalent", "too few seeds"):
            wanted[comparison.variant.name] = needed(difference, judgement, study.margin)
    if not wanted:
        return None
    some = ", ".join(f"{name} {n if n <= MANY else f'over {MANY}'}" for name, n in wanted.items())
    line = f"Seeds that would decide, at the deviation seen: {some}."
    reachable = [n for n in wanted.values() if n <= MANY]
    if not reachable or "cnnlab.train" not in study.command:
        return line, None
    seeds = sorted({int(row["seed"]) for row in study.rows})
    every = seeds + [n for n in range(max(seeds) + max(reachable)) if n not in seeds][: max(reachable) - len(seeds)]
    given = [part for part in study.command if not part.startswith(("seed=", "study.seeds="))]
    return line, shlex.join([*given, f"study.seeds=[{','.join(map(str, sorted(every)))}]"])


def missing(study: Study) -> list[str]:
    """Say which variants cannot be, and which runs are not completed, those that failed first."""
    lines = [f"Left out: {v.name} cannot be: {v.reason}" for v in study.invalid]
    if study.unfinished:
        rows = sorted(study.unfinished, key=lambda row: not row["cause"])
        named = [
            f"{row['variant']} s{show(row['seed'])} {row['status']}" + (f" ({row['cause']})" if row["cause"] else "")
            for row in rows[:SHOWN]
        ]
        more = f" and {len(rows) - SHOWN} more" if len(rows) > SHOWN else ""
        lines.append(f"{len(rows)} of {len(study.rows)} runs are not completed: {'; '.join(named)}{more}")
    return lines
