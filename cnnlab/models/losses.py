"""Losses: functions of outputs (N, classes) and labels (N,) that give the scalar to be minimised."""

from collections.abc import Callable, Sequence
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cnnlab.registry import pick

MAP_CONSTANT = 0.1  # the paper's j: what already far classes add


def target_distance(outputs: Tensor, labels: Tensor) -> Tensor:
    """Take the mean squared distance to the target's bitmap: LeNet-5's first criterion (LeCun et al. 1998, eq. 8).

    Outputs are minus the distances, as the kind rbf gives them.
    """
    return -outputs.gather(1, labels[:, None]).mean()


def maximum_a_posteriori(outputs: Tensor, labels: Tensor) -> Tensor:
    """Take the mean of y_D + log(e^-j + sum_i e^-y_i): LeNet-5's discriminative criterion (LeCun et al. 1998, eq. 9).

    It is cross-entropy with one class more, always at distance j.
    """
    rest = outputs.new_full((len(outputs), 1), -MAP_CONSTANT)
    return F.cross_entropy(torch.cat([outputs, rest], 1), labels)


def squared_error(outputs: Tensor, labels: Tensor) -> Tensor:
    """Take the mean over images of the squared error of the softmax, summed over the classes: the lectures' MSE."""
    wanted = F.one_hot(labels, outputs.shape[1])
    return (outputs.softmax(1) - wanted).square().sum(1).mean()


LOSSES: dict[str, Callable[..., Tensor]] = {
    "cross_entropy": F.cross_entropy,  # minus the logarithm of the softmax at the label; what networks get by default
    "mse": squared_error,
    "target_distance": target_distance,
    "map": maximum_a_posteriori,
}


class WeightedCrossEntropy(nn.Module):
    """The mean over images of a cross-entropy that counts as much as the weight of the image's class says.

    The sum is divided by the number of images. `torch.nn.CrossEntropyLoss` divides it by the sum of their weights, so
    that what an image counts depends on which others are in its batch, or in its process's share of one.

    Args:
        weights: one for each class; under label smoothing each term has that of its own class, as in torch.
        label_smoothing: share of the target that is spread evenly over all classes.
    """

    weights: Tensor

    def __init__(self, weights: Sequence[float], label_smoothing: float = 0.0) -> None:
        super().__init__()
        self.register_buffer("weights", torch.tensor(weights, dtype=torch.float32), persistent=False)
        self.label_smoothing = label_smoothing

    def forward(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Compute the scalar of outputs (N, classes) and labels (N,)."""
        weights = self.weights.to(outputs.dtype)
        each = F.cross_entropy(outputs, labels, weight=weights, label_smoothing=self.label_smoothing, reduction="none")
        return each.mean()


def training_loss(
    name: str, label_smoothing: float = 0.0, class_weights: Sequence[float] | None = None
) -> Callable[[Tensor, Tensor], Tensor]:
    """A loss by name, smoothed (Szegedy et al. 2016) and weighted by class where that is asked for.

    Raises:
        ValueError: an unknown name, or smoothing or weights for another loss than cross-entropy.
    """
    loss = pick(LOSSES, name, "loss")
    for key, asked in {"label_smoothing": label_smoothing, "class_weights": class_weights}.items():
        if asked and name != "cross_entropy":
            raise ValueError(f"{key} is for cross_entropy, not for model.loss={name}")
    if class_weights is not None:
        return WeightedCrossEntropy(class_weights, label_smoothing)
    return partial(loss, label_smoothing=label_smoothing) if label_smoothing else loss
