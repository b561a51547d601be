"""Test a finished run on its own or other data."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from cnnlab.config.compose import compose, plain
from cnnlab.config.errors import value_errors
from cnnlab.models.losses import LOSSES
from cnnlab.reporting.tables import Table
from cnnlab.runs.metrics import make_metrics
from cnnlab.runs.record import Record, write_json
from cnnlab.trained.lesions import run_lesions
from cnnlab.trained.load import load_test


def evaluate(run: Record, data: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Compute the metrics of a run's best checkpoint on test examples.

    Args:
        run: a finished run.
        data: a data config as a plain mapping; the run's own if not given. Images are scaled to the run's size and
            normalised as in the run.

    Returns `test/loss`, `test/acc` (`test/top5_acc` with more than 10 classes, and the run's extra metrics), `images`
    (their number), and `per_class`, the accuracy by class name. Writes the same to `evaluate/<data>.json` in the run
    directory.

    Raises:
        ValueError: no checkpoint, no test examples, or other channels or classes than the run's.
    """
    config = dict(data or run.config["data"])
    classifier, inputs, labels = load_test(run, config)
    logits = classifier.logits(inputs, config["eval_batch_size"])
    hits = logits.argmax(1) == labels
    metrics: dict[str, Any] = {"test/loss": float(LOSSES[classifier.loss_name](logits.double(), labels))}
    for name, metric in make_metrics(len(classifier.classes), classifier.hparams["metrics"]).items():
        metric.update(logits, labels)
        metrics[f"test/{name}"] = float(metric.compute())
    metrics["images"] = len(labels)
    present = torch.bincount(labels, minlength=len(classifier.classes))
    right = torch.bincount(labels[hits], minlength=len(classifier.classes))
    metrics["per_class"] = {
        name: r / n for name, r, n in zip(classifier.classes, right.tolist(), present.tolist(), strict=True) if n
    }
    folder = run.directory / "evaluate"
    folder.mkdir(exist_ok=True)
    write_json(folder / f"{config['name']}.json", metrics)
    return metrics


def compose_request(
    run: Record,
    data: str | Sequence[str] | Mapping[str, Any] | None,
    lesion: str | Sequence[str] | None,
    lesion_by: str | None,
) -> dict[str, Any]:
    """Compose the command's config for a run, from the arguments of `Run.evaluate`.

    Raises:
        ValueError: there is no such dataset or key.
    """
    overrides: list[str] = []
    if not isinstance(data, Mapping):
        given = [] if data is None else [data] if isinstance(data, str) else data
        overrides = [o if "=" in o else f"data={o}" for o in given]
    with value_errors():
        composed, _ = compose("evaluate", [f"run={run.directory}", *overrides])
        config = plain(composed, "evaluate")
    if isinstance(data, Mapping):
        config["data"] = dict(data)
    return config | {k: v for k, v in {"lesion": lesion, "lesion_by": lesion_by}.items() if v is not None}


def evaluate_request(run: Record, config: Mapping[str, Any]) -> dict[str, Any] | Table:
    """Evaluate a run by a config of the command; returns metrics, or a table of lesions."""
    run = run.reading(config["data_dir"])
    if config["lesion"]:
        return run_lesions(run, config["lesion"], config["lesion_by"], config.get("data"))
    if config["lesion_by"] != "mean":
        raise ValueError(f"lesion_by={config['lesion_by']} needs lesion=..., the layers that it silences")
    return evaluate(run, config.get("data"))
