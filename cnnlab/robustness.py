"""Measure the accuracy of one or several finished runs on distorted test examples."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cnnlab.config.command import command
from cnnlab.reporting.plots import distortions_plot, robustness_plot
from cnnlab.reporting.tables import Table
from cnnlab.trained.run import Run


def _task(config: dict[str, Any]) -> None:
    from cnnlab.trained.robustness import mnist_c_means, robustness, strips

    given = config["run"] if isinstance(config["run"], list) else [config["run"]]
    runs = [Run.load(directory).reading(config["data_dir"]) for directory in given]
    names = _names(runs)
    rows = Table()
    for run, name in zip(runs, names, strict=True):
        rows += [{**row, "run": name} for row in robustness(run, config["distortions"])]
    output = Path(config["output"] or runs[0].directory / "robustness")
    output.mkdir(parents=True, exist_ok=True)
    (output / "robustness.csv").write_text(rows.csv(), encoding="utf-8")
    (output / "robustness.svg").write_text(robustness_plot(rows), encoding="utf-8")
    if shown := list(strips(runs[0], config["distortions"])):
        (output / "distortions.svg").write_text(distortions_plot(shown), encoding="utf-8")
    wide = dict[tuple[str, float], dict[str, object]]()
    for row in rows:
        key = (row["distortion"], row["amount"])
        wide.setdefault(key, {"distortion": key[0], "amount": key[1]})[row["run"]] = row["accuracy"]
    print(Table(wide.values()))
    for name, mean in mnist_c_means(rows).items():
        print(f"\nMNIST-C      {mean:.2%} {name}, the mean over its fifteen corruptions at its severities", end="")
    print(f"\nwritten to   {os.path.relpath(output)}")


def _names(runs: Sequence[Run]) -> list[str]:
    """Name the runs by their networks, or where these are the same by their directories."""
    models = [run.config["model"]["name"] for run in runs]
    return models if len(set(models)) == len(models) else [run.directory.name for run in runs]


main = command("robustness", _task)

if __name__ == "__main__":
    main()
