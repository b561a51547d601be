"""Write the report of a study, or of any runs side by side: `results.csv`, `report.md`, `report.html`."""

import os
import shlex
from collections.abc import Sequence
from pathlib import Path

from cnnlab.config.identity import config_hash, differing, flatten
from cnnlab.reporting.comparison import remarks, table
from cnnlab.reporting.page import page
from cnnlab.reporting.search import report_search
from cnnlab.reporting.study import Study, assemble, read_study
from cnnlab.reporting.tables import Table
from cnnlab.runs.plan import Variant, is_search
from cnnlab.runs.record import Record


def report(directory: Path) -> str:
    """Write `results.csv`, `report.md` and `report.html` into a study's or a search's directory; returns what to print.

    Raises:
        ValueError: the directory holds neither.
    """
    if is_search(directory):
        return report_search(directory)
    return write(read_study(directory), directory)


def report_runs(runs: Sequence[Record], output: Path) -> str:
    """The same for runs that no study made: what differs only in the seed is one variant, the first is the baseline.

    Raises:
        ValueError: two runs are the same config.
    """
    flats = [flatten({k: v for k, v in run.config.items() if k not in ("study", "seed")}) for run in runs]
    varied = differing(flats)
    variants: dict[str, Variant] = {}
    rows = []
    for run, flat in zip(runs, flats, strict=True):
        identity = config_hash({**run.config, "seed": None})
        if identity not in variants:
            name = run.config["model"]["name"]
            if any(v.name == name for v in variants.values()):
                name = f"{name}-{identity}"
            overrides = [f"{k}={flat.get(k)}" for k in varied]
            params, macs = (int(run.metrics[k]) if k in run.metrics else None for k in ("params", "macs"))
            variants[identity] = Variant(name, overrides, run.info["removed"], params, macs)
        seed = run.info["seed"]
        place = os.path.relpath(run.directory, output)
        rows.append((variants[identity].name, seed, place, run))
    if len({row[:2] for row in rows}) < len(rows):
        raise ValueError("runs: two of them have the same config and seed")
    arms = list(variants.values())
    made = ["python", "-m", "cnnlab.report", f"runs=[{','.join(str(r.directory) for r in runs)}]"]
    return write(assemble("of runs", output, made, arms[0].name, arms, rows), output)


def write(study: Study, directory: Path) -> str:
    """Write the three files; returns what to print."""
    directory.mkdir(parents=True, exist_ok=True)
    rows, lines = table(study), remarks(study)
    (directory / "results.csv").write_text(study.rows.csv(), encoding="utf-8")
    (directory / "report.html").write_text(page(study), encoding="utf-8")
    versions = ", ".join(f"{k} {v}" for k, v in study.versions.items())
    parts = [f"# Study {study.name}", *lines, rows.markdown(), f"    {shlex.join(study.command)}", versions]
    (directory / "report.md").write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    shown = [{k: v for k, v in row.items() if k in TERMINAL or k.endswith("acc %")} for row in rows]
    text = "\n".join([str(Table(shown)), "", *lines[1:]])
    return f"{text}\nreport       {os.path.relpath(directory / 'report.html')}"


TERMINAL = (
    "variant",
    "seeds",
    "params change",
    "fit seconds",
    "sd",
    "difference",
    "interval for all",
    "p (max-T)",
    "verdict",
)
