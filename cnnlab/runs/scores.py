"""Means over images, and metrics of torchmetrics that take probabilities or that leave out absent classes."""

import warnings
from collections.abc import Callable
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.classification import (
    MulticlassAUROC,
    MulticlassAveragePrecision,
    MulticlassCalibrationError,
    MulticlassRecall,
)
from torchmetrics.utilities.data import dim_zero_cat


class MeanOverImages(Metric):
    """A mean over all images of what `of_each` says."""

    total: Tensor
    images: Tensor

    def __init__(self, classes: int) -> None:
        super().__init__()
        for name in ("total", "images"):
            self.add_state(name, torch.zeros(()), dist_reduce_fx="sum")

    def of_each(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Compute (N,) from logits (N, classes) and labels (N,)."""
        raise NotImplementedError

    def update(self, preds: Tensor, target: Tensor) -> None:
        """Add images."""
        self.total = self.total + self.of_each(preds, target).sum()
        self.images = self.images + len(target)

    def compute(self) -> Tensor:
        """Return the mean."""
        return self.total / self.images


class CrossEntropy(MeanOverImages):
    """Minus the logarithm of the probability of the label."""

    def of_each(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Compute (N,)."""
        return F.cross_entropy(logits, labels, reduction="none")


class SquaredError(MeanOverImages):
    """The squared error of the probabilities, summed over the classes (Brier 1950)."""

    def of_each(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Compute (N,)."""
        return (logits.softmax(1) - F.one_hot(labels, logits.shape[1])).square().sum(1)


class BalancedAccuracy(MulticlassRecall):
    """The mean of the classes' recalls over the classes that have images, as scikit-learn has it.

    torchmetrics counts a class without images as never recognised where it is answered once.
    """

    def __init__(self, classes: int) -> None:
        super().__init__(classes, average="none", validate_args=False)

    def compute(self) -> Tensor:
        """Return the mean, 0 to 1."""
        recalls: Tensor = super().compute()
        images = cast("Tensor", self.tp) + cast("Tensor", self.fn)
        return recalls[images > 0].mean()


class CalibrationError(MulticlassCalibrationError):
    """The expected calibration error (Naeini et al. 2015) of probabilities in 15 bins."""

    def __init__(self, classes: int) -> None:
        super().__init__(classes, validate_args=False)

    def update(self, preds: Tensor, target: Tensor) -> None:
        """Add logits (N, classes), which torchmetrics takes for probabilities where all lie from 0 to 1."""
        super().update(preds.softmax(1), target)


class AUROC(MulticlassAUROC):
    """The area under the curve of true against false positives, from all probabilities: a mean over classes.

    Each class is held against all others; those that all images are of, or none, are left out.
    """

    def __init__(self, classes: int) -> None:
        super().__init__(classes, average="none", thresholds=None, validate_args=False)

    def update(self, preds: Tensor, target: Tensor) -> None:
        """Add logits (N, classes), see CalibrationError."""
        super().update(preds.softmax(1), target)

    def compute(self) -> Tensor:  # type: ignore[override]
        """Return the mean, 0 to 1; NaN where all images are of one class."""
        return _mean_of_present(super().compute, self)


class AveragePrecision(MulticlassAveragePrecision):
    """The area under the curve of precision against recall, from all probabilities: a mean as for AUROC."""

    def __init__(self, classes: int) -> None:
        super().__init__(classes, average="none", thresholds=None, validate_args=False)

    def update(self, preds: Tensor, target: Tensor) -> None:
        """Add logits (N, classes), see CalibrationError."""
        super().update(preds.softmax(1), target)

    def compute(self) -> Tensor:  # type: ignore[override]
        """Return the mean, 0 to 1; NaN where all images are of one class."""
        return _mean_of_present(super().compute, self)


def _mean_of_present(areas: Callable[[], Any], metric: Any) -> Tensor:
    """Return the mean of the classes' areas over those that some images are of, and others not."""
    labels = dim_zero_cat(metric.target)
    images = torch.bincount(labels, minlength=metric.num_classes)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of classes without images
        each: Tensor = areas()
    return each[(images > 0) & (images < len(labels))].mean()
