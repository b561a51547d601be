"""Add a loss and a metric."""

import torch.nn.functional as F
from torch import Tensor
from torchmetrics.classification import MulticlassCalibrationError

from cnnlab.models.losses import LOSSES
from cnnlab.runs.metrics import METRICS, Metric


def focal(logits: Tensor, labels: Tensor) -> Tensor:
    """Compute the focal loss (Lin et al. 2017), which gives well-classified examples less weight; exponent 2."""
    log_p = F.log_softmax(logits, 1).gather(1, labels[:, None])
    return -((1 - log_p.exp()) ** 2 * log_p).mean()


def calibration_error(classes: int) -> MulticlassCalibrationError:
    """Make the metric: expected difference between confidence and accuracy."""
    return MulticlassCalibrationError(classes, validate_args=False)


LOSSES["focal"] = focal  # model.loss=focal
METRICS["calibration_error"] = Metric(calibration_error, higher_is_better=False)  # in every run: val/calibration_error
