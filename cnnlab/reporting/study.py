"""Read a study's runs from their directories, and compare its variants with the baseline."""

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np

from cnnlab.config.compose import load_config
from cnnlab.reporting.curves import Curves, curves_over
from cnnlab.reporting.folds import compare_by_folds
from cnnlab.reporting.measure import Written, judged, written
from cnnlab.reporting.statistics import Difference, Judgement, judge, paired_difference
from cnnlab.reporting.tables import Table
from cnnlab.runs.metrics import Measure
from cnnlab.runs.plan import Job, Plan, Variant, runs_of
from cnnlab.runs.record import Record, read_json

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

    def mean(self, metric: str) -> float | None:
        """Return the mean of a metric over seeds; None where no run has it."""
        return self.metrics.get(metric, (None, None))[0]


@dataclass
class Study:
    """A study's runs and comparisons, as a report shows them."""

    plan: Plan
    directory: Path
    measure: Measure  # the compared metric: as planned, else test accuracy, or validation accuracy without tests
    rows: Table  # a row for each run, as in results.csv
    comparisons: list[Comparison]
    curves: dict[str, Curves]  # by variant, over its completed runs, or those begun while none is
    versions: dict[str, Any]
    began: str = ""  # of the first completed run, minutes of UTC
    ended: str = ""  # of the last one

    @property
    def metric(self) -> str:
        """The key of the compared metric in `metrics.json`."""
        return self.measure.name

    @property
    def unit(self) -> Written:
        """The format of the compared metric."""
        return written(self.measure)

    @property
    def reference(self) -> Comparison:
        """The baseline."""
        return next(c for c in self.comparisons if c.variant.name == self.plan.baseline)

    @property
    def unfinished(self) -> Table:
        """The runs that are not completed."""
        return Table(row for row in self.rows if row["status"] != "completed")


def read_study(directory: Path) -> Study:
    """Read a study's plan and the results of its runs so far.

    Raises:
        ValueError: there is no plan, or it is damaged.
    """
    plan = Plan.load(directory)
    return assemble(plan, directory, list(runs_of(plan, directory)))


def assemble(plan: Plan, directory: Path, runs: Sequence[tuple[Job, Record | None]]) -> Study:
    """Build a study from its plan, its directory, and each job with its run, if begun."""
    valid = {v.name: v for v in plan.variants if not v.reason}
    order = {name: place for place, name in enumerate(valid)}
    known = sorted(
        ((job, run) for job, run in runs if job.variant in valid),
        key=lambda pair: (order[pair[0].variant], pair[0].seed, pair[0].fold or 0),
    )
    rows = Table(_row(valid[job.variant], job, run, plan.folds) for job, run in known)
    tested = any(row.get("test/acc") is not None for row in rows)
    measure = plan.metric or Measure("test/acc" if tested else "val/acc")
    comparisons = [_compare(v, rows, measure.name) for v in valid.values() if v.name != plan.one_split]
    curves = {name: curves_over(_logged(name, rows, directory)) for name in valid}
    damaged = {row["run_dir"] for row in rows if row["status"] == "damaged"}
    finished = [(job, run) for job, run in runs if run is not None and job.run_dir not in damaged]
    versions = _versions(finished[0][1]) if finished else {}
    began, ended = _times([run for _, run in finished])
    study = Study(plan, directory, measure, rows, comparisons, curves, versions, began, ended)
    others = [c for c in comparisons if c is not study.reference]
    _judge(study, others)
    _add_lesions(
        others, study.reference.variant.removed, [run for job, run in finished if job.variant == plan.baseline]
    )
    return study


def _versions(run: Record) -> dict[str, Any]:
    """Return the package versions and the commit that a run recorded."""
    git = run.info.get("git") or {}
    commit = {"commit": git["commit"][:10] + (" with changes" if git.get("dirty") else "")} if git.get("commit") else {}
    return {**run.info["versions"], **commit}


def _times(runs: Sequence[Record]) -> tuple[str, str]:
    """Return when the first run began and the last one ended, in UTC to the minute; empty strings without any."""
    began = [str(run.info["started"]) for run in runs if run.info.get("started")]
    ended = [str(run.info["ended"]) for run in runs if run.info.get("ended")]
    if not began or not ended:
        return "", ""
    return min(began)[:16].replace("T", " "), max(ended)[:16].replace("T", " ")


def damage(run: Record) -> str | None:
    """Return why a run's files cannot be read, or None; reports leave damaged runs out."""
    try:
        run.info, run.metrics, load_config(run.directory)
    except ValueError as error:
        return str(error)
    return None


def _row(variant: Variant, job: Job, run: Record | None, folds: int | None) -> ResultRow:
    info: Mapping[str, Any] = {"status": "pending"}
    if run is not None:
        damaged = damage(run)
        info = {"status": "damaged", "cause": damaged} if damaged else run.info
    metrics = run.metrics if run and info["status"] == "completed" else {}
    return {
        "variant": variant.name,
        "removed": " ".join(variant.removed),
        "seed": job.seed,
        **({"fold": job.fold} if folds else {}),
        "status": info["status"],
        "run_dir": job.run_dir,
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


def _judge(study: Study, others: Sequence[Comparison]) -> None:
    """Set each variant's difference from the baseline, over the seeds or folds that both have, and its judgement."""
    plan, metric, runs = study.plan, study.metric, study.reference.runs
    if plan.folds:
        found = compare_by_folds(runs, [other.runs for other in others], metric, plan.folds, plan.margin)
    else:
        found = _compare_by_seeds(runs, [other.runs for other in others], metric, plan.margin)
    for other, (difference, judgement) in zip(others, found, strict=True):
        other.difference, other.judgement = difference, judged(study.measure, judgement)


def _compare_by_seeds(
    reference: Sequence[ResultRow], others: Sequence[Sequence[ResultRow]], metric: str, margin: float | None
) -> list[tuple[Difference | None, Judgement | None]]:
    """Compare variants with a baseline as `compare_by_folds` does, paired by seed."""
    baseline = {row["seed"]: row[metric] for row in reference}
    values = [{row["seed"]: row[metric] for row in rows if row["seed"] in baseline} for rows in others]
    seeds = sorted(set().union(*values))
    table = np.array([[own.get(seed, np.nan) - baseline[seed] for own in values] for seed in seeds])
    judgements = judge(table.reshape(len(seeds), len(values)), margin)
    return [
        (paired_difference(list(own.values()), [baseline[seed] for seed in own]), judgement) if own else (None, None)
        for own, judgement in zip(values, judgements, strict=True)
    ]


def _logged(variant: str, rows: Sequence[ResultRow], directory: Path) -> list[Path]:
    """Return the directories of a variant's completed runs, or of those begun while none is completed."""
    begun = [row for row in rows if row["variant"] == variant and row["status"] not in ("pending", "damaged")]
    done = [row for row in begun if row["status"] == "completed"]
    return [directory / row["run_dir"] for row in done or begun]


def _add_lesions(comparisons: Sequence[Comparison], base_removed: Sequence[str], baseline: Sequence[Record]) -> None:
    """Set the change of the baseline's accuracy without a variant's layers (`cnnlab.evaluate lesion=...`).

    Damaged lesion files are skipped.

    Args:
        comparisons: of the variants.
        base_removed: layers that the baseline lacks, too.
        baseline: its runs.
    """
    for comparison in comparisons:
        changes = []
        for run in baseline:
            path = run.directory / "evaluate" / f"lesions-{run.config['data']['name']}-mean.json"
            key = "+".join(name for name in comparison.variant.removed if name not in base_removed)
            with contextlib.suppress(ValueError, TypeError, KeyError):
                accuracies: Mapping[str, float] = read_json(path) if path.is_file() else {}
                if key and key in accuracies:
                    changes.append(accuracies[key] - accuracies[""])
        comparison.lesion = mean(changes) if changes else None
