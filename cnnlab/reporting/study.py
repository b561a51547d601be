"""A study as it stands: its runs, read from their directories, and its variants compared with the baseline."""

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np

from cnnlab.reporting.statistics import Difference, Judgement, judge, paired_difference
from cnnlab.reporting.tables import Table
from cnnlab.runs.plan import Plan, Variant, runs_of
from cnnlab.runs.record import Record, read_history, read_json, saved_config

ResultRow = dict[str, Any]


@dataclass
class Comparison:
    """One variant over its seeds, beside the baseline."""

    variant: Variant
    runs: list[ResultRow]  # the completed ones
    metrics: dict[str, tuple[float, float | None]] = field(default_factory=dict)  # mean, standard deviation over seeds
    difference: Difference | None = None  # of accuracy; None for the baseline
    judgement: Judgement | None = None  # of that difference among those of all variants
    lesion: float | None = None  # change of the baseline's accuracy when the same layers are silenced, not retrained


@dataclass
class Study:
    """What a report shows."""

    name: str
    directory: Path
    command: list[str]
    baseline: str
    metric: str  # test/acc, or val/acc where there are no test images
    rows: Table  # a row for each run, as in results.csv
    comparisons: list[Comparison]
    invalid: list[Variant]
    curves: dict[str, list[list[tuple[float, float]]]]  # variant: for each run (epoch, validation accuracy)
    versions: dict[str, Any]
    margin: float | None = None  # a difference that is too small to matter

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
    return assemble(plan.name, directory, plan.command, plan.baseline, plan.variants, pairs, plan.margin)


def assemble(
    name: str,
    directory: Path,
    command: list[str],
    baseline: str,
    variants: Sequence[Variant],
    runs: Sequence[tuple[str, int, str, Record | None]],
    margin: float | None = None,
) -> Study:
    """A study from its variants and runs; of a run: variant, seed, where it lies, and what there is of it."""
    valid = [v for v in variants if not v.reason]
    by_name = {v.name: v for v in valid}
    rows = Table(_row(by_name[v], seed, place, run) for v, seed, place, run in runs if v in by_name)
    rows.sort(key=lambda row: (list(by_name).index(row["variant"]), row["seed"]))
    metric = "test/acc" if any(row.get("test/acc") is not None for row in rows) else "val/acc"
    comparisons = [_compare(v, rows, metric) for v in valid]
    reference = next(c for c in comparisons if c.variant.name == baseline)
    others = [c for c in comparisons if c is not reference]
    _compare_with(reference, others, metric, margin)
    damaged = {row["run_dir"] for row in rows if row["status"] == "damaged"}
    finished = [(v, run) for v, _, place, run in runs if run is not None and place not in damaged]
    curves: dict[str, list[list[tuple[float, float]]]] = {v.name: [] for v in valid}
    for variant_name, run in finished:
        if variant_name in curves and (curve := _curve(run.directory)):
            curves[variant_name].append(curve)
    _add_lesions(others, reference.variant.removed, [run for v, run in finished if v == baseline])
    versions = finished[0][1].info["versions"] if finished else {}
    invalid = [v for v in variants if v.reason]
    return Study(name, directory, command, baseline, metric, rows, comparisons, invalid, curves, versions, margin)


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
    for name in dict.fromkeys(k for row in done for k, v in row.items() if isinstance(v, (int, float)) and k != "seed"):
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


def _curve(directory: Path) -> list[tuple[float, float]]:
    """Return the validation accuracy after each epoch that has one; a damaged log costs the curve, not the report."""
    with contextlib.suppress(ValueError):
        return [(row["epoch"], row["val/acc"]) for row in read_history(directory) if "val/acc" in row]
    return []


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
