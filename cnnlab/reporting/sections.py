"""What the report of a study consists of: one function for each section."""

import shlex

from cnnlab.reporting import plots
from cnnlab.reporting.comparison import remarks, table
from cnnlab.reporting.section import Code, Data, Figure, Section
from cnnlab.reporting.study import Study


def sections(study: Study) -> list[Section]:
    """The sections in order; one that has nothing to show is left out."""
    parts = [comparison(study), differences(study), capacity(study), curves(study), runs(study), made(study)]
    return [section for section in parts if section.blocks]


def comparison(study: Study) -> Section:
    """Compare all variants with the baseline."""
    return Section("Comparison", [*remarks(study), Data("comparison", table(study), f"Study {study.name}", paper=True)])


def differences(study: Study) -> Section:
    """Plot the differences from the baseline."""
    return Section(f"Difference from {study.baseline}", [Figure("differences", plots.differences(study))])


def capacity(study: Study) -> Section:
    """Plot accuracy against what variants cost."""
    figures = [
        Figure("against-params", plots.against(study, "params", "parameters")),
        Figure("against-macs", plots.against(study, "macs", "multiply-adds per image")),
    ]
    return Section("Accuracy against capacity", [*figures])


def curves(study: Study) -> Section:
    """Plot validation accuracy by epoch."""
    lead = "Mean over seeds; the band goes from the lowest to the highest."
    return Section("Learning curves", [lead, Figure("curves", plots.learning_curves(study))])


def runs(study: Study) -> Section:
    """List the runs, as in `results.csv`."""
    return Section("Runs", [Data("runs", study.rows, "Runs")])


def made(study: Study) -> Section:
    """Say what was run and how to run it again."""
    versions = ", ".join(f"{k} {v}" for k, v in study.versions.items())
    return Section("How this was made", [Code(shlex.join(study.command)), versions])
