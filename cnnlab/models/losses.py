"""Losses by name: functions of outputs (N, classes) and labels (N,) that return a scalar."""

from collections.abc import Callable, Sequence
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cnnlab.registry import pick

MAP_CONSTANT = 0.1  # the paper's j: bounds what classes that are already far away add to the loss


def target_distance(outputs: Tensor, labels: Tensor) -> Tensor:
    """Average the squared distance to the target's bitmap: LeNet-5's first criterion (LeCun et al. 1998, eq. 8).

    Outputs are negative squared distances, as from a layer of kind rbf.
    """
    return -outputs.gather(1, labels[:, None]).mean()


def maximum_a_posteriori(outputs: Tensor, labels: Tensor) -> Tensor:
    """Average y_D + log(e^-j + sum_i e^-y_i): LeNet-5's discriminative criterion (LeCun et al. 1998, eq. 9).

    This is cross-entropy with an extra class that is always at distance j.
    """
    rest = outputs.new_full((len(outputs), 1), -MAP_CONSTANT)
    return F.cross_entropy(torch.cat([outputs, rest], 1), labels)


def squared_error(outputs: Tensor, labels: Tensor) -> Tensor:
    """Compute the squared error of the softmax, summed over classes, averaged over examples: the lectures' MSE."""
    targets = F.one_hot(labels, outputs.shape[1])
    return (outputs.softmax(1) - targets).square().sum(1).mean()


LOSSES: dict[str, Callable[..., Tensor]] = {
    "cross_entropy": F.cross_entropy,  # minus the logarithm of the softmax at the label; the default
    "mse": squared_error,
    "target_distance": target_distance,
    "map": maximum_a_posteriori,
}


class WeightedCrossEntropy(nn.Module):
    """Cross-entropy in which each example is weighted by its class.

    The sum is divided by the number of examples. `torch.nn.CrossEntropyLoss` divides it by the sum of their weights, so
    that an example's share depends on which others are in its batch, or in its process's part of one.

    Args:
        weights: one per class; under label smoothing each term has the weight of its own class, as in torch.
        label_smoothing: share of the target that is spread evenly over all classes.
    """

    weights: Tensor

    def __init__(self, weights: Sequence[float], label_smoothing: float = 0.0) -> None:
        super().__init__()
        self.register_buffer("weights", torch.tensor(weights, dtype=torch.float32), persistent=False)
        self.label_smoothing = label_smoothing

    def forward(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Compute the loss of outputs (N, classes) and labels (N,), a scalar."""
        weights = self.weights.to(outputs.dtype)
        each = F.cross_entropy(outputs, labels, weight=weights, label_smoothing=self.label_smoothing, reduction="none")
        return each.mean()


def training_loss(
    name: str, label_smoothing: float = 0.0, class_weights: Sequence[float] | None = None
) -> Callable[[Tensor, Tensor], Tensor]:
    """Return a loss by name, with label smoothing (Szegedy et al. 2016) and class weights where given.

    Raises:
        ValueError: an unknown name, or smoothing or weights for another loss than cross-entropy.
    """
    loss = pick(LOSSES, name, "loss")
    for key, value in {"label_smoothing": label_smoothing, "class_weights": class_weights}.items():
        if value and name != "cross_entropy":
            raise ValueError(f"{key} is for cross_entropy, not for model.loss={name}")
    if class_weights is not None:
        return WeightedCrossEntropy(class_weights, label_smoothing)
    return partial(loss, label_smoothing=label_smoothing) if label_smoothing else loss
