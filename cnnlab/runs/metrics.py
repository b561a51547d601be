"""The metrics that are counted on validation and test images beside the loss, by name.

Training, `evaluate` and the reports all read this one table. To add a metric, add an entry to METRICS. What computes a
metric is imported when it is made, because reports are written without torch.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any


@dataclass(frozen=True)
class Metric:
    """How to make one metric, and which way is better.

    Args:
        make: makes a torchmetrics metric for so many classes; its `update` takes logits (N, classes) and labels (N,),
            its `compute` gives one number over the images of all processes.
        higher_is_better: whether a higher value is the better one, which reports say in the column's name.
        more_than: it is left out where there are no more classes than this.
    """

    make: Callable[[int], Any]
    higher_is_better: bool = True
    more_than: int = 0


def _accuracy(classes: int, top_k: int = 1) -> Any:
    from torchmetrics.classification import MulticlassAccuracy

    return MulticlassAccuracy(classes, top_k=top_k, average="micro", validate_args=False)


METRICS: dict[str, Metric] = {
    "acc": Metric(_accuracy),
    "top5_acc": Metric(partial(_accuracy, top_k=5), more_than=10),
}


def make_metrics(classes: int) -> dict[str, Any]:
    """Make every metric that says something about so many classes, by name."""
    return {name: metric.make(classes) for name, metric in METRICS.items() if classes > metric.more_than}
