"""What a network is trained to lessen: functions of outputs (N, classes) and labels (N,) that give a scalar."""

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

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


LOSSES: dict[str, Callable[..., Tensor]] = {
    "cross_entropy": F.cross_entropy,  # minus the logarithm of the softmax at the label; what networks get by default
    "target_distance": target_distance,
    "map": maximum_a_posteriori,
}


def training_loss(name: str, label_smoothing: float = 0.0) -> Callable[[Tensor, Tensor], Tensor]:
    """A loss by name, smoothed where that is asked for (Szegedy et al. 2016).

    Raises:
        ValueError: an unknown name, or smoothing of another loss than cross-entropy.
    """
    loss = pick(LOSSES, name, "loss")
    if not label_smoothing:
        return loss
    if name != "cross_entropy":
        raise ValueError(f"label_smoothing is for cross_entropy, not for model.loss={name}")
    return partial(loss, label_smoothing=label_smoothing)
