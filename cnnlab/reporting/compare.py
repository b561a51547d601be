"""Compare runs: their metrics, beside the config keys in which they differ."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cnnlab.config.identity import differing, flatten
from cnnlab.reporting.tables import Table
from cnnlab.runs.plan import Plan, is_search, runs_of
from cnnlab.runs.record import Record


def compare(runs: Record | str | Path | Sequence[Record | str | Path]) -> Table:
    """Tabulate runs: the config keys in which they differ, and their metrics.

    Args:
        runs: runs or run directories; or the directory of a study, whose rows are named by variant and seed, or another
            folder of run directories.

    Returns a list of rows (mappings); printed, or as the last line of a notebook cell, it is a table. Runs that are not
    completed have a `status`.

    Raises:
        ValueError: there are no runs.
    """
    given = [runs] if isinstance(runs, (Record, str, Path)) else runs
    named = [pair for item in given for pair in ([(_name(item), item)] if isinstance(item, Record) else _runs_in(item))]
    if not named:
        raise ValueError("there is nothing to compare: give runs, or the directory of a study")
    flats = [flatten(run.config) for _, run in named]
    of_studies = all("variant" in name for name, _ in named)  # whose other `study` keys are redundant
    varied = [key for key in differing(flats) if not (of_studies and key.startswith("study."))]
    unfinished = any(run.status != "completed" for _, run in named)
    return Table(
        {
            **name,
            **{key: flat.get(key) for key in varied},
            **({"status": run.status} if unfinished else {}),
            **run.metrics,
        }
        for (name, run), flat in zip(named, flats, strict=True)
    )


def _name(run: Record) -> dict[str, Any]:
    return {"run": run.directory.name}


def _runs_in(directory: str | Path) -> list[tuple[dict[str, Any], Record]]:
    """Return the runs of a run directory, a study or a folder of run directories, each with its naming columns.

    Raises:
        ValueError: there are none.
    """
    path = Path(directory)
    if (path / "run.json").is_file():
        run = Record.load(path)
        return [(_name(run), run)]
    if (path / "plan.json").is_file() and not is_search(path):
        plan = Plan.load(path)
        order = [variant.name for variant in plan.variants]
        jobs = sorted(runs_of(plan, path), key=lambda pair: (order.index(pair[0].variant), pair[0].seed))
        found = [({"variant": job.variant, "seed": job.seed}, run) for job, run in jobs if run]
    else:
        found = [(_name(run), run) for run in (Record.load(p.parent) for p in sorted(path.glob("*/run.json")))]
    if not found:
        raise ValueError(f"{path} holds no runs" if path.is_dir() else f"{path}: there is no such directory")
    return found
