"""Write the report of a search: `results.csv`, `report.html`, `report.md`; all accuracies are validation accuracies."""

import os
import shlex
from pathlib import Path

from cnnlab.reporting import search_plots
from cnnlab.reporting.chance import Chance, chance
from cnnlab.reporting.markdown import markdown
from cnnlab.reporting.page import page
from cnnlab.reporting.section import Block, Code, Data, Figure, Section
from cnnlab.reporting.tables import Table
from cnnlab.reporting.trials import FEWEST, OVER, Search, Trial, read_search

SHOWN = 10  # trials on the terminal and in `report.md`
NAMED = 8  # trials in a sentence


def report_search(directory: Path) -> str:
    """Write the three files into a search's directory; return a summary to print.

    Raises:
        ValueError: the directory holds no search, or a damaged one.
    """
    search = read_search(directory)
    rows, parts, title = table(search), sections(search), f"Search {search.name}"
    (directory / "results.csv").write_text(rows.csv(), encoding="utf-8")
    (directory / "report.html").write_text(page(title, parts), encoding="utf-8")
    (directory / "report.md").write_text(markdown(title, parts), encoding="utf-8")
    short = Table({k: v for k, v in row.items() if k not in ("run_dir", "cause")} for row in rows[:SHOWN])
    lines = [str(short), "", *state(search), *(verdict(search, chance(search)))]
    if search.ranked:
        lines.append(f"best         {shlex.join(values(search.ranked[0]))}")
    lines.append(f"results      {os.path.relpath(directory / 'results.csv')}")
    return "\n".join([*lines, f"report       {os.path.relpath(directory / 'report.html')}"])


def table(search: Search) -> Table:
    """Make a row for each trial, as in `results.csv`: the completed ones, the best first, then the others."""
    others = sorted(search.trials, key=lambda trial: (trial.state, trial.number))
    return Table(
        {
            "trial": trial.number,
            "state": trial.state,
            "val/acc": trial.accuracy,
            **{key: trial.params.get(key) for key in search.space},
            "run_dir": trial.directory.name if trial.directory else None,
            "cause": trial.cause,
        }
        for trial in [*search.ranked, *(trial for trial in others if trial.state != "complete")]
    )


def values(trial: Trial) -> list[str]:
    """Return a trial's parameters as overrides."""
    return [f"{key}={value}" for key, value in trial.params.items()]


def sections(search: Search) -> list[Section]:
    """Make the sections of the report; one that has nothing to show is left out."""
    found = chance(search)
    parts = [best(search, found), history(search), parameters(search), trials(search), made(search)]
    return [section for section in parts if section.blocks]


def best(search: Search, found: Chance | None) -> Section:
    """Name the best trial, its command, and which trials differ from it significantly."""
    section = Section("Best trial", [*state(search), *verdict(search, found)])
    if search.ranked:
        run = search.plan.run if search.plan else []
        command = Code(shlex.join([*run, *values(search.ranked[0])]))
        section.blocks += ["Its command:" if run else "Its values:", command]
    return section


def state(search: Search) -> list[str]:
    """Count the trials by state, and name the failed ones."""
    counts = {state: len(search.of(state)) for state in dict.fromkeys(trial.state for trial in search.trials)}
    named = {"complete": "completed", "pruned": "stopped early", "fail": "failed"}
    parts = [f"{count} {named.get(state, state)}" for state, count in sorted(counts.items())]
    number = len(search.of(*OVER))
    wanted = f"{number} of {search.plan.trials} wanted" if search.plan else f"{number}"
    lines = [f"{wanted} trials are done ({', '.join(parts) or 'none has begun'})."]
    if failed := search.of("fail"):
        some = "; ".join(f"{trial.name}: {trial.cause or 'it was cut off'}" for trial in failed[:NAMED])
        lines.append(f"Failed: {some}{_more(len(failed))}")
    return lines


def verdict(search: Search, found: Chance | None) -> list[str]:
    """State the best accuracy, and which trials differ from it significantly."""
    if not search.ranked:
        return ["No trial is completed yet, so that there is no best one."]
    first = search.ranked[0]
    accuracy = f"{first.name} has the best accuracy on validation images, {100 * (first.accuracy or 0):.2f} %"
    if found is None:
        return [f"{accuracy}. It is the only completed trial, or the number of images is not known."]
    above = (first.accuracy or 0) - found.median
    lines = [
        f"{accuracy} of {found.images:,}, with a standard error of {100 * found.error:.2f} points. The median of the "
        f"{len(search.ranked)} completed trials is {100 * found.median:.2f} %, {100 * above:.2f} points below it. Were "
        f"all equally good, the best would be about {100 * found.lucky:.2f} points above the median by the chance of "
        "these images alone."
    ]
    how = (
        "exact tests of McNemar on the images that only one of two has right"
        if found.paired
        else "tests of two binomial shares, since not all trials kept answers to the same images"
    )
    how = f"at the 5 % level, by {how}, corrected for all pairs"
    others = len(found.tied) + len(found.worse)
    if not found.worse:
        lines.append(f"The best trials cannot be told apart: no other completed trial is worse, {how}.")
    elif found.tied:
        tied = ", ".join(trial.name for trial in found.tied[:NAMED]) + _more(len(found.tied))
        lines.append(
            f"The best trials cannot be told apart: of the others {len(found.worse)} of {others} are worse, {how}; "
            f"as good may be {tied}."
        )
    else:
        lines.append(f"Every other completed trial is worse, {how}.")
    lines.append(
        "Each trial has one seed, and the best of many looks better than it is: train it with other seeds, and look "
        "at test images once, at the end."
    )
    return lines


def _more(count: int) -> str:
    return f" and {count - NAMED} more" if count > NAMED else ""


def history(search: Search) -> Section:
    """Plot accuracy by trial."""
    plot = search_plots.history(search)
    caption = f"Accuracy by trial; the line is the best so far. {search_plots.LEGEND}."
    return Section("History", [Figure("history", f'<div class="panels wide">{plot}</div>', caption)] if plot else [])


def parameters(search: Search) -> Section:
    """Rank parameters by importance, and plot accuracy against each."""
    rows = Table(
        {"parameter": key, "importance": search.importances.get(key), "searched": str(parameter)}
        for key, parameter in sorted(search.space.items(), key=lambda item: -search.importances.get(item[0], 0))
    )
    blocks: list[Block] = [Data("parameters", rows, "What was searched")] if rows else []
    if search.importances:
        blocks.append(
            "Importance is the variance of accuracy that a parameter explains by itself, as a share of what all do "
            "(fANOVA, Hutter et al. 2014; Optuna's, of a random forest fitted to the "
            f"{len(search.ranked)} completed trials; those stopped early do not count). Where there are few trials, or "
            "most are near the best, it is rough."
        )
    elif rows:
        blocks.append(f"Importances need {FEWEST} completed trials of different accuracies.")
    plots = [plot for row in rows if (plot := search_plots.parameter_slice(search, row["parameter"]))]
    if plots:
        html = f'<div class="panels wide">{"".join(plots)}</div>'
        blocks.append(Figure("slices", html, f"Accuracy against each parameter. {search_plots.LEGEND}."))
    return Section("Parameters", blocks)


def trials(search: Search) -> Section:
    """List the trials: all of them in the page, the best in `report.md`."""
    rows = table(search)
    if not search.of("fail"):
        rows = Table({k: v for k, v in row.items() if k != "cause"} for row in rows)
    short = Table({k: v for k, v in row.items() if k != "run_dir"} for row in rows[:SHOWN])
    both = [Data("trials", rows, "All trials", ("html",)), Data("best-trials", short, "The best trials", ("md",))]
    return Section("Trials", [*both] if rows else [])


def made(search: Search) -> Section:
    """Give the command of the search, which also extends it."""
    return Section("How this was made", [Code(shlex.join(search.plan.command))] if search.plan else [])
