"""Define metrics that torchmetrics lacks, or that need probabilities or must leave out absent classes."""

import warnings
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.classification import (
    MulticlassAUROC,
    MulticlassAveragePrecision,
    MulticlassCalibrationError,
    MulticlassPrecisionRecallCurve,
    MulticlassRecall,
)
from torchmetrics.utilities.data import dim_zero_cat


class MeanOverExamples(Metric):
    """The mean of `of_each` over all examples."""

    total: Tensor
    examples: Tensor

    def __init__(self, classes: int) -> None:
        super().__init__()
        for name in ("total", "examples"):
            self.add_state(name, torch.zeros(()), dist_reduce_fx="sum")

    def of_each(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Compute a value (N,) for each example from logits (N, classes) and labels (N,)."""
        raise NotImplementedError

    def update(self, preds: Tensor, target: Tensor) -> None:
        """Add logits (N, classes) and labels (N,)."""
        self.total = self.total + self.of_each(preds, target).sum()
        self.examples = self.examples + len(target)

    def compute(self) -> Tensor:
        """Return the mean."""
        return self.total / self.examples


class CrossEntropy(MeanOverExamples):
    """Minus the logarithm of the true class's probability."""

    def of_each(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Compute the cross-entropy (N,)."""
        return F.cross_entropy(logits, labels, reduction="none")


class SquaredError(MeanOverExamples):
    """The squared error of the probabilities, summed over the classes (Brier 1950)."""

    def of_each(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Compute the squared error (N,)."""
        return (logits.softmax(1) - F.one_hot(labels, logits.shape[1])).square().sum(1)


class BalancedAccuracy(MulticlassRecall):
    """The mean recall over the classes that have examples, as in scikit-learn.

    torchmetrics counts a class without examples as recall 0 once it has been predicted.
    """

    def __init__(self, classes: int) -> None:
        super().__init__(classes, average="none", validate_args=False)

    def compute(self) -> Tensor:
        """Return the mean, 0 to 1."""
        recalls: Tensor = super().compute()
        examples = cast("Tensor", self.tp) + cast("Tensor", self.fn)
        return recalls[examples > 0].mean()


class OfProbabilities(Metric):
    """A mixin that turns logits into the probabilities that a metric of torchmetrics takes."""

    def update(self, preds: Tensor, target: Tensor) -> None:
        """Add logits (N, classes), which torchmetrics would take for probabilities if all lie from 0 to 1."""
        super().update(preds.softmax(1), target)  # type: ignore[safe-super]


class CalibrationError(OfProbabilities, MulticlassCalibrationError):
    """The expected calibration error (Naeini et al. 2015) of probabilities in 15 bins."""

    def __init__(self, classes: int) -> None:
        super().__init__(classes, validate_args=False)


class MeanOfPresent(OfProbabilities, MulticlassPrecisionRecallCurve):
    """The mean of the classes' areas under a curve, without binning of probabilities.

    Each class is taken against the rest; classes that have no examples, or all of them, are left out.
    """

    def __init__(self, classes: int) -> None:
        super().__init__(classes, average="none", thresholds=None, validate_args=False)  # type: ignore[arg-type]

    def compute(self) -> Tensor:  # type: ignore[override]
        """Return the mean, 0 to 1; NaN if all examples are of one class."""
        labels = dim_zero_cat(self.target)
        examples = torch.bincount(labels, minlength=self.num_classes)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about classes without examples
            each = cast("Tensor", super().compute())
        return each[(examples > 0) & (examples < len(labels))].mean()


class AUROC(MeanOfPresent, MulticlassAUROC):
    """The area under the curve of true against false positive rate."""


class AveragePrecision(MeanOfPresent, MulticlassAveragePrecision):
    """The area under the curve of precision against recall."""
