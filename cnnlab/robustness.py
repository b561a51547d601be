"""Accuracy of finished runs against distortions of their test images, for one run or several side by side."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cnnlab.config import command
from cnnlab.reporting.tables import Table
from cnnlab.runs import Run
from cnnlab.steps import steps


def robustness(run: Run, distortions: Sequence[str] | None = None) -> Table:
    """A row for each distortion and amount: `run`, `distortion`, `amount`, `accuracy` on all test images.

    Args:
        run: a finished run; its own test images are distorted at the run's size, before any permutation of pixels.
        distortions: names, all of them if not given.

    Raises:
        ValueError: an unknown distortion, no checkpoint, no test images.
    """
    import torch

    from cnnlab.data.images import permute_pixels
    from cnnlab.distortions import DISTORTIONS
    from cnnlab.evaluate import load_test
    from cnnlab.names import pick

    chosen = {name: pick(DISTORTIONS, name, "distortion") for name in distortions or DISTORTIONS}
    data = run.config["data"]
    classifier, images, labels = load_test(run, data, permute=False)
    batch = data["eval_batch_size"]
    rows = Table()
    every = [(name, distort, amount) for name, (distort, amounts) in chosen.items() for amount in sorted(amounts)]
    with steps(f"robustness of {run.info['variant']} s{run.info['seed']}", len(every)) as step:
        for name, distort, amount in every:
            step(f"{name} {amount}")
            hits = 0
            for part, truth in zip(images.split(batch), labels.split(batch), strict=True):
                with torch.inference_mode():
                    distorted = distort(part.to(classifier.device).float() / 255, amount)
                    if data.get("permute_pixels"):
                        distorted = permute_pixels(distorted)
                    hits += int((classifier.logits(distorted, batch).argmax(1) == truth).sum())
            rows.append(
                {"run": run.directory.name, "distortion": name, "amount": amount, "accuracy": hits / len(labels)}
            )
    return rows


def _task(config: dict[str, Any]) -> None:
    from cnnlab.reporting.plots import robustness_plot

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
    wide = dict[tuple[str, float], dict[str, object]]()
    for row in rows:
        key = (row["distortion"], row["amount"])
        wide.setdefault(key, {"distortion": key[0], "amount": key[1]})[row["run"]] = row["accuracy"]
    print(Table(wide.values()))
    print(f"\nwritten to   {os.path.relpath(output)}")


def _names(runs: Sequence[Run]) -> list[str]:
    """What tells the runs apart: their networks, or where these are the same their directories."""
    models = [run.config["model"]["name"] for run in runs]
    return models if len(set(models)) == len(models) else [run.directory.name for run in runs]


main = command("robustness", _task)

if __name__ == "__main__":
    main()
