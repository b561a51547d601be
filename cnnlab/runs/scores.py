"""Metrics of torchmetrics that logits have to be turned into probabilities for, or that leave out absent classes."""

import warnings
from typing import Any

import torch
from torch import Tensor
from torchmetrics.classification import (
    MulticlassAUROC,
    MulticlassAveragePrecision,
    MulticlassCalibrationError,
    MulticlassRecall,
)
from torchmetrics.utilities.data import dim_zero_cat


class BalancedAccuracy(MulticlassRecall):
    """The mean of the classes' recalls over the classes that have images, as scikit-learn has it.

    torchmetrics counts a class without images as never recognised where it is answered once.
    """

    def __init__(self, classes: int) -> None:
        super().__init__(classes, average="none", validate_args=False)

    def compute(self) -> Tensor:
        """Return the mean, 0 to 1."""
        recalls: Tensor = super().compute()
        return recalls[self.tp + self.fn > 0].mean()


class CalibrationError(MulticlassCalibrationError):
    """The expected calibration error (Naeini et al. 2015) of probabilities in 15 bins."""

    def __init__(self, classes: int) -> None:
        super().__init__(classes, validate_args=False)

    def update(self, preds: Tensor, target: Tensor) -> None:
        """Add logits (N, classes), which torchmetrics takes for probabilities where all lie from 0 to 1."""
        super().update(preds.softmax(1), target)


class _OneAgainstAll:
    """The mean of a curve's area over the classes that some images are of, and others not."""

    num_classes: int
    target: Any

    def update(self, preds: Tensor, target: Tensor) -> None:
        """Add logits (N, classes), which torchmetrics takes for probabilities where all lie from 0 to 1."""
        super().update(preds.softmax(1), target)  # type: ignore[misc]

    def compute(self) -> Tensor:
        """Return the mean, 0 to 1; NaN where all images are of one class."""
        labels = dim_zero_cat(self.target)
        images = torch.bincount(labels, minlength=self.num_classes)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of classes without images, which are left out
            areas: Tensor = super().compute()  # type: ignore[misc]
        return areas[(images > 0) & (images < len(labels))].mean()


class AUROC(_OneAgainstAll, MulticlassAUROC):
    """The area under the curve of true against false positives, from all probabilities."""

    def __init__(self, classes: int) -> None:
        super().__init__(classes, average="none", thresholds=None, validate_args=False)


class AveragePrecision(_OneAgainstAll, MulticlassAveragePrecision):
    """The area under the curve of precision against recall, from all probabilities."""

    def __init__(self, classes: int) -> None:
        super().__init__(classes, average="none", thresholds=None, validate_args=False)
