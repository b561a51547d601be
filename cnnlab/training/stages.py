"""Compute metrics of validation and test: each example of all processes counts once, whatever the batch size."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torchmetrics import MeanMetric

from cnnlab.runs.metrics import make_metrics
from cnnlab.training.divergence import LOWER


class StageMetrics(nn.ModuleDict):
    """Accumulate the loss and all metrics of a stage, "val" or "test".

    `loss` takes logits (N, classes) and labels (N,); `extra` names metrics beside those that every run has.
    """

    def __init__(
        self, stage: str, classes: int, loss: Callable[[Tensor, Tensor], Tensor], extra: Sequence[str]
    ) -> None:
        super().__init__({"loss": MeanMetric(), **make_metrics(classes, extra)})
        self.stage, self.loss_of = stage, loss

    def count(self, logits: Tensor, labels: Tensor) -> None:
        """Add a batch's logits (N, classes) and labels (N,); N may be 0, as a process may have no share of a batch."""
        logits = logits.float()
        metric: Any
        for name, metric in self.items():
            # a metric that keeps a list of its inputs needs an empty one of the right shape; others may refuse it
            if not len(labels) and not any(isinstance(state, list) for state in metric.metric_state.values()):
                continue
            if name == "loss":
                metric.update(self.loss_of(logits, labels), len(labels))
            else:
                metric.update(logits, labels)

    def counted(self, step: int) -> dict[str, Tensor]:
        """Return each metric over the examples of all processes, and reset them all.

        Args:
            step: number of steps trained, for the message.

        Raises:
            FloatingPointError: a metric is not finite.
        """
        values: dict[str, Tensor] = {}
        metric: Any
        for name, metric in self.items():
            value = metric.compute()  # over all processes, so that all stop if it is not finite
            if not torch.isfinite(value):
                remedy = LOWER if name == "loss" else f"it is not defined on these images; take {name} out of metrics"
                raise FloatingPointError(f"{self.stage}/{name} is {value.item()} after step {step}; {remedy}")
            values[f"{self.stage}/{name}"] = value
            metric.reset()
        return values
