"""A study as it stands: its runs, read from their directories, and its variants compared with the baseline."""

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np

from cnnlab.reporting.curves import Curves, curves_over
from cnnlab.reporting.folds import add_folds, compare_by_folds
from cnnlab.reporting.measure import judged
from cnnlab.reporting.statistics import Difference, Judgement, judge, paired_difference
from cnnlab.reporting.tables import Table
from cnnlab.runs.metrics import Measure
from cnnlab.runs.plan import Plan, Variant, runs_of
from cnnlab.runs.record import Record, read_json, saved_config

ResultRow = dict[str, Any]


@dataclass
class Comparison:
    """One variant over its seeds, beside the baseline."""

    variant: Variant
    runs: list[ResultRow]  # the completed ones
    metrics: dict[str, tuple[float, float | None]] = field(default_factory=dict)  # mean, standard deviation over seeds
    difference: Difference | None = None  # of the study's metric; None for the baseline
    judgement: Judgement | None = None  # of that difference among those of all variants
    lesion: float | None = None  # change of the baseline's accuracy when the same layers are silenced, not retrained


@dataclass
class Study:
    """What a report shows."""

    name: str
    directory: Path
    command: list[str]
    baseline: str
    metric: str  # what is compared: test/acc, or val/acc where there are no test images, unless the plan says it
    rows: Table  # a row for each run, as in results.csv
    comparisons: list[Comparison]
    invalid: list[Variant]
    curves: dict[str, Curves]  # of each variant, over its completed runs; over those that have begun while it has none
    versions: dict[str, Any]
    margin: float | None = None  # a difference that is too small to matter
    one_split: str | None = None  # a variant that is no comparison: the baseline's runs on one validation split
    began: str = ""  # of the first completed run, minutes of UTC
    ended: str = ""  # of the last one
    tuned: list[dict[str, Any]] = field(default_factory=list)  # the trials of each variant, as `Plan` has them
    factors: list[list[str]] = field(default_factory=list)  # groups of layers whose interactions are looked at
    measure: Measure = field(default_factory=lambda: Measure("test/acc"))  # the metric, and which way is better
    folds: int | None = None  # of a cross-validation

    @property
    def unfinished(self) -> Table:
        """The runs that are not completed."""
        return Table(row for row in self.rows if row["status"] != "completed")


def read_study(directory: Path) -> Study:
    """A study's plan and whatever its runs have left so far.

    Raises:
        ValueError: there is no plan, or it is damaged.
    """
    plan = Plan.load(directory)
    pairs = [(job.variant, job.seed, job.run_dir, run) for job, run in runs_of(plan, directory)]
    folds = {job.run_dir: job.fold for job in plan.jobs if job.fold is not None}
    study = assemble(
        plan.name, directory, plan.command, plan.baseline, plan.variants, pairs, plan.margin, plan.one_split,
        plan.metric, folds, plan.folds,
    )  # fmt: skip
    study.factors, study.tuned = plan.factors, plan.tuned
    return study


def assemble(
    name: str,
    directory: Path,
    command: list[str],
    baseline: str,
    variants: Sequence[Variant],
    runs: Sequence[tuple[str, int, str, Record | None]],
    margin: float | None = None,
    one_split: str | None = None,
    measure: Measure | None = None,
    fold_of: Mapping[str, int] | None = None,
    folds: int | None = None,
) -> Study:
    """A study from its variants and runs; of a run: variant, seed, where it lies, and what there is of it.

    Args:
        name, directory, command, baseline, variants, runs: of the study.
        margin: a difference that is too small to matter.
        measure: what is compared; None for accuracy, on test images if there are any.
        fold_of: which fold each run holds out, by where it lies, in a cross-validation.
        folds: how many folds that has.
    """
    valid = [v for v in variants if not v.reason]
    by_name = {v.name: v for v in valid}
    rows = Table(_row(by_name[v], seed, place, run) for v, seed, place, run in runs if v in by_name)
    rows.sort(key=lambda row: (list(by_name).index(row["variant"]), row["seed"]))
    if folds:
        rows = add_folds(rows, fold_of or {})
    tested = any(row.get("test/acc") is not None for row in rows)
    measure = measure or Measure("test/acc" if tested else "val/acc")
    metric = measure.name
    comparisons = [_compare(v, rows, metric) for v in valid if v.name != one_split]
    reference = next(c for c in comparisons if c.variant.name == baseline)
    others = [c for c in comparisons if c is not reference]
    if folds:
        found = compare_by_folds(reference.runs, [other.runs for other in others], metric, folds, margin)
        for other, (difference, judgement) in zip(others, found, strict=True):
            other.difference, other.judgement = difference, judgement
    else:
        _compare_with(reference, others, metric, margin)
    for other in others:
        other.judgement = judged(measure, other.judgement)
    damaged = {row["run_dir"] for row in rows if row["status"] == "damaged"}
    finished = [(v, run) for v, _, place, run in runs if run is not None and place not in damaged]
    curves = {v.name: curves_over(_logged(v.name, rows, directory)) for v in valid}
    _add_lesions(others, reference.variant.removed, [run for v, run in finished if v == baseline])
    versions = _versions(finished[0][1]) if finished else {}
    invalid = [v for v in variants if v.reason]
    began, ended = _times([run for _, run in finished])
    return Study(
        name, directory, command, baseline, metric, rows, comparisons, invalid, curves, versions, margin, one_split,
        began, ended, measure=measure, folds=folds,
    )  # fmt: skip


def _versions(run: Record) -> dict[str, Any]:
    """Return the versions that a run has noted, and the commit of the checkout it was started from."""
    git = run.info.get("git") or {}
    commit = {"commit": git["commit"][:10] + (" with changes" if git.get("dirty") else "")} if git.get("commit") else {}
    return {**run.info["versions"], **commit}


def _times(runs: Sequence[Record]) -> tuple[str, str]:
    """Return when the first run began and the last one ended, in UTC to the minute; nothing where none has."""
    began = [str(run.info["started"]) for run in runs if run.info.get("started")]
    ended = [str(run.info["ended"]) for run in runs if run.info.get("ended")]
    if not began or not ended:
        return "", ""
    return min(began)[:16].replace("T", " "), max(ended)[:16].replace("T", " ")


def damage(run: Record) -> str | None:
    """Return what is wrong with a run's files, if something is; such a run counts for nothing in a report."""
    try:
        run.info, run.metrics, saved_config(run.directory)
    except ValueError as error:
        return str(error)
    return None


def _row(variant: Variant, seed: int, place: str, run: Record | None) -> ResultRow:
    info: Mapping[str, Any] = {"status": "pending"}
    if run is not None:
        damaged = damage(run)
        info = {"status": "damaged", "cause": damaged} if damaged else run.info
    metrics = run.metrics if run and info["status"] == "completed" else {}
    return {
        "variant": variant.name,
        "removed": " ".join(variant.removed),
        "seed": seed,
        "status": info["status"],
        "run_dir": place,
        "params": metrics.get("params", variant.params),
        "macs": metrics.get("macs", variant.macs),
        "fit_seconds": metrics.get("fit_seconds"),
        "val/acc": metrics.get("val/acc"),
        "test/acc": metrics.get("test/acc"),
        **{k: v for k, v in metrics.items() if k not in ("params", "macs", "fit_seconds", "val/acc", "test/acc")},
        "cause": info.get("cause"),
    }


def _compare(variant: Variant, rows: Sequence[ResultRow], metric: str) -> Comparison:
    done = [row for row in rows if row["variant"] == variant.name and row.get(metric) is not None]
    comparison = Comparison(variant, done)
    for name in dict.fromkeys(
        k for row in done for k, v in row.items() if isinstance(v, (int, float)) and k not in ("seed", "fold")
    ):
        values = [row[name] for row in done if row.get(name) is not None]
        comparison.metrics[name] = mean(values), stdev(values) if len(values) > 1 else None
    return comparison


def _compare_with(reference: Comparison, others: Sequence[Comparison], metric: str, margin: float | None) -> None:
    """Add to each variant its difference from the baseline, over the seeds that both have, and a judgement of it."""
    theirs = {row["seed"]: row[metric] for row in reference.runs}
    values = [{row["seed"]: row[metric] for row in other.runs if row["seed"] in theirs} for other in others]
    seeds = sorted(set().union(*values))
    for own, other in zip(values, others, strict=True):
        if own:
            other.difference = paired_difference(list(own.values()), [theirs[seed] for seed in own])
    judged = [(own, other) for own, other in zip(values, others, strict=True) if own]
    table = np.array([[own.get(seed, np.nan) - theirs[seed] for own, _ in judged] for seed in seeds])
    judgements = judge(table.reshape(len(seeds), len(judged)), margin)
    for (_, other), judgement in zip(judged, judgements, strict=True):
        other.judgement = judgement


def _logged(variant: str, rows: Sequence[ResultRow], directory: Path) -> list[Path]:
    """Return the directories of a variant's completed runs; of all that have begun, while none is completed."""
    begun = [row for row in rows if row["variant"] == variant and row["status"] not in ("pending", "damaged")]
    done = [row for row in begun if row["status"] == "completed"]
    return [directory / row["run_dir"] for row in done or begun]


def _add_lesions(comparisons: Sequence[Comparison], gone: Sequence[str], baseline: Sequence[Record]) -> None:
    """Add the change where the baseline's runs were asked without a variant's layers (`cnnlab.evaluate lesion=...`).

    A damaged file of answers counts as none.

    Args:
        comparisons: of the variants.
        gone: the layers that the baseline does without.
        baseline: its runs.
    """
    for comparison in comparisons:
        changes = []
        for run in baseline:
            path = run.directory / "evaluate" / f"lesions-{run.config['data']['name']}-mean.json"
            key = "+".join(name for name in comparison.variant.removed if name not in gone)
            with contextlib.suppress(ValueError, TypeError, KeyError):
                known: Mapping[str, float] = read_json(path) if path.is_file() else {}
                if key and key in known:
                    changes.append(known[key] - known[""])
        comparison.lesion = mean(changes) if changes else None
