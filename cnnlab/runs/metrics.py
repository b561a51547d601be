"""The metrics that are counted on validation and test examples beside the loss, by name.

Training, `evaluate` and the reports all read this one table. To add a metric, add an entry to METRICS. What computes a
metric is imported when it is made, because reports are written without torch.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from cnnlab.registry import hint


@dataclass(frozen=True)
class Metric:
    """How to make one metric, and which way is better.

    `make` makes a torchmetrics metric for so many classes; its `update` takes logits (N, classes) and labels (N,), its
    `compute` gives one number over the examples of all processes.
    """

    make: Callable[[int], Any]
    higher_is_better: bool = True  # which reports say in the column's name
    more_than: int = 0  # classes, or it is left out
    on_request: bool = False  # counted only where `metrics` names it
    percent: bool = False  # a share of examples or classes: reports show it in percent, and its differences in points


@dataclass(frozen=True)
class Measure:
    """What a study compares its variants by, as `plan.json` has it."""

    name: str  # in `metrics.json`, such as "test/acc"
    higher_is_better: bool = True
    percent: bool = True


def _torchmetrics(classes: int, kind: str, **options: Any) -> Any:
    from torchmetrics import classification

    return getattr(classification, f"Multiclass{kind}")(classes, validate_args=False, **options)


def _adapted(classes: int, kind: str) -> Any:
    from cnnlab.runs import scores

    return getattr(scores, kind)(classes)


_accuracy = partial(_torchmetrics, kind="Accuracy", average="micro")
_macro = partial(_torchmetrics, average="macro")

METRICS: dict[str, Metric] = {
    "acc": Metric(_accuracy, percent=True),
    "top5_acc": Metric(partial(_accuracy, top_k=5), more_than=10, percent=True),
    # means over examples, whichever loss trains: minus the logarithm of the probability of the label, and the squared
    # error of the probabilities, summed over the classes
    "cross_entropy": Metric(partial(_adapted, kind="CrossEntropy"), higher_is_better=False, on_request=True),
    "squared_error": Metric(partial(_adapted, kind="SquaredError"), higher_is_better=False, on_request=True),
    # the mean over classes that have examples of the share of theirs that is recognised
    "balanced_accuracy": Metric(partial(_adapted, kind="BalancedAccuracy"), on_request=True, percent=True),
    # unweighted means over classes
    "f1": Metric(partial(_macro, kind="F1Score"), on_request=True),
    "precision": Metric(partial(_macro, kind="Precision"), on_request=True),
    "recall": Metric(partial(_macro, kind="Recall"), on_request=True),
    # unweighted means over classes, each against all others
    "auroc": Metric(partial(_adapted, kind="AUROC"), on_request=True),
    "average_precision": Metric(partial(_adapted, kind="AveragePrecision"), on_request=True),
    "cohen_kappa": Metric(partial(_torchmetrics, kind="CohenKappa"), on_request=True),
    "mcc": Metric(partial(_torchmetrics, kind="MatthewsCorrCoef"), on_request=True),
    # how far the probability of an answer is from the share of such answers that are right; 15 bins
    "calibration_error": Metric(partial(_adapted, kind="CalibrationError"), higher_is_better=False, on_request=True),
}


def configured_metrics(config: Mapping[str, Any]) -> list[str]:
    """Return the metrics that a run counts on request; of a loss other than cross-entropy also two to read it by."""
    usual = (config["model"].get("loss") or "cross_entropy") == "cross_entropy"
    return list(dict.fromkeys([*config.get("metrics", []), *([] if usual else ["cross_entropy", "squared_error"])]))


def counted(classes: int, asked: Sequence[str] = ()) -> list[str]:
    """Return the names of the metrics that a run with so many classes counts; `asked` is what `metrics` names."""
    return [n for n, m in METRICS.items() if classes > m.more_than and (n in asked or not m.on_request)]


def make_metrics(classes: int, asked: Sequence[str] = ()) -> dict[str, Any]:
    """Make every metric that says something about so many classes, by name; those on request where they are asked."""
    return {name: METRICS[name].make(classes) for name in counted(classes, asked)}


def refuse_metrics(classes: int, asked: Sequence[str]) -> None:
    """Refuse names in `metrics` that are none, or that say nothing about so few classes.

    Raises:
        ValueError: names the metric and what there is.
    """
    for name in asked:
        if name not in METRICS:
            raise ValueError(f"metrics: there is no {name!r}{hint(name, METRICS)}")
        if classes <= METRICS[name].more_than:
            raise ValueError(
                f"metrics: {name} is for more than {METRICS[name].more_than} classes, and there are {classes}"
            )


def measure(name: str, classes: int, asked: Sequence[str]) -> Measure:
    """Return what a name in `study.metric` means, such as "test/f1"; classes and asked are as `counted` takes them.

    Raises:
        ValueError: the runs have no such metric.
    """
    stage, _, metric = str(name).partition("/")
    if stage in ("val", "test") and metric == "loss":
        return Measure(name, higher_is_better=False, percent=False)
    known = counted(classes, asked)
    if stage in ("val", "test") and metric in known:
        return Measure(name, METRICS[metric].higher_is_better, METRICS[metric].percent)
    if stage in ("val", "test") and metric in METRICS and METRICS[metric].on_request:
        raise ValueError(f"study.metric={name}: it is counted where it is asked for: metrics=[{metric}]")
    there = [f"{s}/{m}" for s in ("test", "val") for m in (*known, "loss")]
    raise ValueError(f"study.metric={name}: no run has it{hint(str(name), there)}")
