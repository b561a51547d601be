"""Define the metrics of validation and test examples, beside the loss, by name.

Training, `evaluate` and the reports read this table. To add a metric, add an entry to METRICS. The library that
computes a metric is imported when the metric is made, so that reports are written without torch.
"""

import pkgutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cnnlab.registry import hint


@dataclass(frozen=True)
class Metric:
    """How to make a metric, and how to report it.

    `make` takes the number of classes and returns a torchmetrics metric, whose `update` takes logits (N, classes) and
    labels (N,), and whose `compute` returns one number over the examples of all processes.
    """

    make: Callable[[int], Any]
    higher_is_better: bool = True  # shown in the column's name in reports
    more_than: int = 0  # left out unless there are more classes than this
    on_request: bool = False  # computed only if `metrics` names it
    percent: bool = False  # a share of examples or classes: reports show percent, and differences in points


@dataclass(frozen=True)
class Measure:
    """The metric that a study compares its variants by, as stored in `plan.json`."""

    name: str  # in `metrics.json`, such as "test/acc"
    higher_is_better: bool = True
    percent: bool = True


def _later(path: str, **options: Any) -> Callable[[int], Any]:
    """Return a function from the number of classes to the metric, which imports its class when it is called."""
    return lambda classes: pkgutil.resolve_name(path)(classes, **options)


def _own(kind: str) -> Callable[[int], Any]:
    return _later(f"cnnlab.runs.scores:{kind}")


def _torchmetrics(kind: str, **options: Any) -> Callable[[int], Any]:
    return _later(f"torchmetrics.classification:Multiclass{kind}", validate_args=False, **options)


METRICS: dict[str, Metric] = {
    "acc": Metric(_torchmetrics("Accuracy", average="micro"), percent=True),
    "top5_acc": Metric(_torchmetrics("Accuracy", average="micro", top_k=5), more_than=10, percent=True),
    # means over examples, whatever the training loss: minus the logarithm of the true class's probability, and the
    # squared error of the probabilities, summed over the classes
    "cross_entropy": Metric(_own("CrossEntropy"), higher_is_better=False, on_request=True),
    "squared_error": Metric(_own("SquaredError"), higher_is_better=False, on_request=True),
    # mean recall over the classes that have examples
    "balanced_accuracy": Metric(_own("BalancedAccuracy"), on_request=True, percent=True),
    # unweighted means over classes
    "f1": Metric(_torchmetrics("F1Score", average="macro"), on_request=True),
    "precision": Metric(_torchmetrics("Precision", average="macro"), on_request=True),
    "recall": Metric(_torchmetrics("Recall", average="macro"), on_request=True),
    # unweighted means over classes, each against the rest
    "auroc": Metric(_own("AUROC"), on_request=True),
    "average_precision": Metric(_own("AveragePrecision"), on_request=True),
    "cohen_kappa": Metric(_torchmetrics("CohenKappa"), on_request=True),
    "mcc": Metric(_torchmetrics("MatthewsCorrCoef"), on_request=True),
    # mean distance between the predicted probability and the accuracy at that probability; 15 bins
    "calibration_error": Metric(_own("CalibrationError"), higher_is_better=False, on_request=True),
}


def configured_metrics(config: Mapping[str, Any]) -> list[str]:
    """Return the extra metrics of a run: those of `metrics`, and two losses if it does not train on cross-entropy."""
    usual = (config["model"].get("loss") or "cross_entropy") == "cross_entropy"
    return list(dict.fromkeys([*config.get("metrics", []), *([] if usual else ["cross_entropy", "squared_error"])]))


def metric_names(classes: int, extra: Sequence[str] = ()) -> list[str]:
    """Return the names of a run's metrics, given the number of classes and the extra metrics of `metrics`."""
    return [n for n, m in METRICS.items() if classes > m.more_than and (n in extra or not m.on_request)]


def make_metrics(classes: int, extra: Sequence[str] = ()) -> dict[str, Any]:
    """Make a run's metrics by name, given the number of classes and the extra metrics of `metrics`."""
    return {name: METRICS[name].make(classes) for name in metric_names(classes, extra)}


def refuse_metrics(classes: int, extra: Sequence[str]) -> None:
    """Refuse names in `metrics` that are unknown, or need more classes.

    Raises:
        ValueError: names the metric, and similar ones.
    """
    for name in extra:
        if name not in METRICS:
            raise ValueError(f"metrics: there is no {name!r}{hint(name, METRICS)}")
        if classes <= METRICS[name].more_than:
            raise ValueError(
                f"metrics: {name} is for more than {METRICS[name].more_than} classes, and there are {classes}"
            )


def measure(name: str, classes: int, extra: Sequence[str]) -> Measure:
    """Resolve a value of `study.metric`, such as "test/f1"; classes and extra are as in `metric_names`.

    Raises:
        ValueError: the runs have no such metric.
    """
    stage, _, metric = str(name).partition("/")
    if stage in ("val", "test") and metric == "loss":
        return Measure(name, higher_is_better=False, percent=False)
    known = metric_names(classes, extra)
    if stage in ("val", "test") and metric in known:
        return Measure(name, METRICS[metric].higher_is_better, METRICS[metric].percent)
    if stage in ("val", "test") and metric in METRICS and METRICS[metric].on_request:
        raise ValueError(f"study.metric={name}: it is counted where it is asked for: metrics=[{metric}]")
    names = [f"{s}/{m}" for s in ("test", "val") for m in (*known, "loss")]
    raise ValueError(f"study.metric={name}: no run has it{hint(str(name), names)}")
