"""Write the report of a study, a search or a list of runs: `results.csv`, `report.html`, `.md`, `.tex`, events."""

import os
from collections.abc import Sequence
from pathlib import Path

from cnnlab.config.identity import config_hash, differing, flatten
from cnnlab.reporting.comparison import notes, table
from cnnlab.reporting.events import write_events
from cnnlab.reporting.latex import latex
from cnnlab.reporting.markdown import markdown
from cnnlab.reporting.page import page
from cnnlab.reporting.search import report_search
from cnnlab.reporting.section import Figure
from cnnlab.reporting.sections import sections
from cnnlab.reporting.study import Study, assemble, read_study
from cnnlab.reporting.tables import Table
from cnnlab.reporting.verdicts import missing, seeds_to_decide
from cnnlab.runs.plan import Job, Plan, Variant, is_search
from cnnlab.runs.record import Record


def report(directory: Path) -> str:
    """Write the report of a study or a search into its directory; return a summary to print.

    Raises:
        ValueError: the directory holds neither a study nor a search.
    """
    if is_search(directory):
        return report_search(directory)
    return write(read_study(directory), directory)


def report_runs(runs: Sequence[Record], output: Path) -> str:
    """Write a report of runs outside a study: those that differ only in the seed are a variant, the first the baseline.

    Raises:
        ValueError: two runs have the same config and seed.
    """
    flats = [flatten({k: v for k, v in run.config.items() if k not in ("study", "seed")}) for run in runs]
    varied = differing(flats)
    variants: dict[str, Variant] = {}
    jobs: list[tuple[Job, Record | None]] = []
    for run, flat in zip(runs, flats, strict=True):
        identity = config_hash({**run.config, "seed": None})
        if identity not in variants:
            name = run.config["model"]["name"]
            if any(v.name == name for v in variants.values()):
                name = f"{name}-{identity}"
            overrides = [f"{k}={flat.get(k)}" for k in varied]
            params, macs = (int(run.metrics[k]) if k in run.metrics else None for k in ("params", "macs"))
            variants[identity] = Variant(name, overrides, run.info["removed"], params, macs)
        run_dir = os.path.relpath(run.directory, output)
        jobs.append((Job(variants[identity].name, run.info["seed"], run_dir, identity), run))
    if len({job.run for job, _ in jobs}) < len(jobs):
        raise ValueError("runs: two of them have the same config and seed")
    arms = list(variants.values())
    command_line = ["python", "-m", "cnnlab.report", f"runs=[{','.join(str(r.directory) for r in runs)}]"]
    plan = Plan("of runs", arms[0].name, "", command_line, [], arms, [job for job, _ in jobs])
    return write(assemble(plan, output, jobs), output)


def write(study: Study, directory: Path) -> str:
    """Write the report files, the figures of `report.md`, and curves for TensorBoard; return a summary to print."""
    directory.mkdir(parents=True, exist_ok=True)
    write_events(study, directory)
    title, parts = f"Study {study.plan.name}", sections(study)
    (directory / "results.csv").write_text(study.rows.csv(), encoding="utf-8")
    (directory / "report.html").write_text(page(title, parts), encoding="utf-8")
    (directory / "report.md").write_text(markdown(title, parts), encoding="utf-8")
    (directory / "report.tex").write_text(latex(title, study.plan.name, parts), encoding="utf-8")
    for figure in (block for part in parts for block in part.blocks if isinstance(block, Figure) and block.file):
        (directory / f"{figure.name}.svg").write_text(figure.file, encoding="utf-8")
    column = study.unit.column
    shown = [{k: v for k, v in row.items() if k in TERMINAL or k == column} for row in table(study)]
    decide, command = seeds_to_decide(study) or ("", None)
    lines = [*notes(study), *filter(None, [f"{decide} This adds them: {command}" if command else decide])]
    text = "\n".join([str(Table(shown)), "", *lines, *missing(study)])
    return f"{text}\nreport       {os.path.relpath(directory / 'report.html')}"


TERMINAL = (
    "variant",
    "seeds",
    "params change",
    "fit seconds",
    "sd",
    "difference",
    "interval for all",
    "folds",
    "p (max-T)",
    "p (Bonferroni)",
    "verdict",
)
