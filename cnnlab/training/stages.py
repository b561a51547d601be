"""Metrics of validation and test: each example of all processes counts once, whatever the batch size."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torchmetrics import MeanMetric

from cnnlab.runs.metrics import make_metrics
from cnnlab.training.divergence import LOWER


class StageMetrics(nn.ModuleDict):
    """The loss, of logits (N, classes) and labels (N,), and every metric of a stage, "val" or "test".

    Metrics that are asked for are counted beside those that every run counts.
    """

    def __init__(
        self, stage: str, classes: int, loss: Callable[[Tensor, Tensor], Tensor], asked: Sequence[str]
    ) -> None:
        super().__init__({"loss": MeanMetric(), **make_metrics(classes, asked)})
        self.stage, self.loss_of = stage, loss

    def count(self, logits: Tensor, labels: Tensor) -> None:
        """Add a batch's logits (N, classes) and labels (N,), of which a process may have none."""
        logits = logits.float()
        metric: Any
        for name, metric in self.items():
            # a metric that keeps what it is given has to be given nothing of the right shape, others may refuse it
            if not len(labels) and not any(isinstance(state, list) for state in metric.metric_state.values()):
                continue
            if name == "loss":
                metric.update(self.loss_of(logits, labels), len(labels))
            else:
                metric.update(logits, labels)

    def counted(self, step: int) -> dict[str, Tensor]:
        """Return each metric over all that was counted in all processes; the next count begins anew.

        Args:
            step: how many steps have been trained, for the message.

        Raises:
            FloatingPointError: a metric is not finite.
        """
        values: dict[str, Tensor] = {}
        metric: Any
        for name, metric in self.items():
            value = metric.compute()  # over all processes, so that all stop
            if not torch.isfinite(value):
                remedy = LOWER if name == "loss" else f"it is not defined on these images; take {name} out of metrics"
                raise FloatingPointError(f"{self.stage}/{name} is {value.item()} after step {step}; {remedy}")
            values[f"{self.stage}/{name}"] = value
            metric.reset()
        return values
