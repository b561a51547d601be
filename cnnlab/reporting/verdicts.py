"""State a study's results in sentences: a verdict for each variant, seeds still needed, and runs missing."""

import shlex
from collections.abc import Sequence

from cnnlab.reporting.measure import Written
from cnnlab.reporting.statistics import Difference, Judgement, needed
from cnnlab.reporting.study import Comparison, Study
from cnnlab.runs.plan import Variant

MANY = 100  # seeds at most that are suggested
SAME = 1e-9  # differences below which values count as equal
SHOWN = 10  # variants whose unfinished runs are named
NAMED = 4  # removed layers at most that a sentence names
DECIDED = ("worse", "better", "equivalent", "too few seeds")
ORDER = ("worse", "better", "equivalent", "negligible or worse", "negligible or better", "inconclusive",
         "too few seeds", "too few folds")  # fmt: skip


def sentences(study: Study) -> list[tuple[str, str]]:
    """Return verdict and sentence of each variant, the baseline first, then by verdict, the largest difference first.

    Variants that have no completed runs share a sentence.
    """
    unit = study.unit
    baseline = study.reference
    judged = [(c.variant, c.difference, c.judgement) for c in study.comparisons if c.difference and c.judgement]
    judged.sort(key=lambda arm: (ORDER.index(arm[2].verdict), -abs(arm[1].mean)))
    baseline_removed = baseline.variant.removed
    lines = [("baseline", _baseline(baseline, unit))]
    lines += [(j.verdict, f"{_subject(v, baseline_removed)} {_predicate(d, j, unit, study)}.") for v, d, j in judged]
    waiting = ", ".join(c.variant.name for c in study.comparisons if not c.judgement and c is not baseline)
    return [*lines, ("no runs yet", f"No completed runs to compare yet: {waiting}.")] if waiting else lines


def _baseline(comparison: Comparison, unit: Written) -> str:
    value, sd = comparison.metrics.get(unit.metric, (None, None))
    name = comparison.variant.name
    subject = "The baseline" if name == "baseline" else f"{name}, the baseline,"
    if value is None:
        return f"{subject} has no completed runs yet."
    spread = f"standard deviation {unit.number(sd)}, " if sd is not None else ""
    seeds = _runs(len({row["seed"] for row in comparison.runs}))
    return f"{subject} has {unit.value(value)} {unit.name} ({spread}{seeds})."


def _subject(variant: Variant, baseline_removed: Sequence[str]) -> str:
    """Return a sentence's subject: `Without conv3 it` for a variant that only removes layers, else its name."""
    removed = [name for name in variant.removed if name not in baseline_removed]
    only = all(override.startswith(("model.remove=", "model.repair=")) for override in variant.overrides)
    return f"Without {_join(removed)} it" if only and 0 < len(removed) <= NAMED else variant.name


def _predicate(difference: Difference, judgement: Judgement, unit: Written, study: Study) -> str:
    """Return a sentence's predicate: the difference, its interval, and the verdict."""
    low, high, verdict = judgement.low or 0.0, judgement.high or 0.0, judgement.verdict
    down, up = ("lose", "gain") if unit.unit else ("fall by", "rise by")
    losses = f"{down} up to {unit.amount(low)}"
    gains = f"{up} up to {unit.amount(high)}"
    limit, runs = (
        f"less than the margin of {unit.amount(study.plan.margin or 0)}",
        _runs(difference.seeds, study.plan.folds),
    )
    if max(abs(difference.mean), abs(low), abs(high)) < SAME and not verdict.startswith("too few"):
        return f"has the values of the baseline on all of {runs}: it may compute the same"
    changes = f"{_third(down if difference.mean < 0 else up)} {unit.amount(difference.mean)}"
    if verdict in ("worse", "better"):
        near, far = sorted((abs(low), abs(high)))
        return f"{changes} ({unit.number(near)} to {unit.number(far)}), {runs}"
    if verdict.startswith("negligible"):
        falls = verdict.endswith("worse") == unit.higher_is_better
        open_end, other = (losses, _third(up)) if falls else (gains, _third(down))
        return f"may {open_end}, and {other} {limit}: {verdict}, {runs}"
    return {
        "equivalent": f"changes by {limit}: equivalent, {unit.signed(difference.mean)} "
        f"({unit.between(low, high)}), {runs}",
        "inconclusive": f"may {losses} or {gains}: inconclusive, {runs}",
    }.get(verdict, f"{changes} on {runs}, too few for a verdict")


def _third(verb: str) -> str:
    """Put a verb in the third person: lose, loses; fall by, falls by."""
    first, *rest = verb.split(" ")
    return " ".join([f"{first}s", *rest])


def _join(names: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def _runs(count: int, folds: int | None = None) -> str:
    return f"{count} {'fold' if folds else 'seed'}{'' if count == 1 else 's'}"


def seeds_to_decide(study: Study) -> tuple[str, str | None] | None:
    """Estimate the seeds that would decide inconclusive variants, at the standard deviation seen.

    Returns a sentence, and the command that adds the seeds where `cnnlab.train` made the study and `MANY` can decide;
    None where nothing is inconclusive.
    """
    wanted = {}
    for comparison in study.comparisons:
        difference, judgement = comparison.difference, comparison.judgement
        if difference and judgement and not study.plan.folds and judgement.verdict not in DECIDED:
            wanted[comparison.variant.name] = needed(difference, judgement, study.plan.margin)
    if not wanted:
        return None
    some = ", ".join(f"{name} {n if n <= MANY else f'over {MANY}'}" for name, n in wanted.items())
    line = f"Seeds that would decide, at the deviation seen: {some}."
    reachable = [n for n in wanted.values() if n <= MANY]
    if not reachable or "cnnlab.train" not in study.plan.command:
        return line, None
    seeds = sorted({int(row["seed"]) for row in study.rows})
    every = seeds + [n for n in range(max(seeds) + max(reachable)) if n not in seeds][: max(reachable) - len(seeds)]
    given = [part for part in study.plan.command if not part.startswith(("seed=", "study.seeds="))]
    return line, shlex.join([*given, f"study.seeds=[{','.join(map(str, sorted(every)))}]"])


def missing(study: Study) -> list[str]:
    """List variants that cannot be built, and runs that are not completed, the failed ones first."""
    lines = [f"Left out: {v.name} cannot be: {v.reason}" for v in study.plan.variants if v.reason]
    if study.unfinished:
        seeds: dict[tuple[str, ...], list[str]] = {}
        for row in sorted(study.unfinished, key=lambda row: not row["cause"]):
            state = f"{row['status']} ({row['cause']})" if row["cause"] else row["status"]
            seeds.setdefault((row["variant"], state), []).append(f"s{row['seed']}")
        named = [f"{variant} {', '.join(own)} {state}" for (variant, state), own in seeds.items()]
        more = f" and {len(named) - SHOWN} more variants" if len(named) > SHOWN else ""
        some = "; ".join(named[:SHOWN])
        lines.append(f"{len(study.unfinished)} of {len(study.rows)} runs are not completed: {some}{more}.")
    return lines
