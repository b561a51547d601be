"""Which layer first gave what is not finite, once something is not."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass
class Step:
    """What a step is remembered by until it is known to be finite."""

    epoch: int
    number: int
    images: Tensor
    labels: Tensor
    loss: Tensor

    def said(self, what: str) -> str:
        """The message of a step that is not."""
        return f"epoch {self.epoch + 1}, step {self.number}: {what}; lower optimizer.lr"


def explain(network: nn.Module, images: Tensor, loss: Tensor) -> str | None:
    """What is not finite in a step, by layer: a weight, or a value on the way forward, or the loss, or a gradient.

    Args:
        network: named layers, with gradients of the step.
        images: of the step, as the network takes them.
        loss: of the step.

    Returns None where all is finite.
    """
    for name, layer in network.named_children():
        if not all(_finite(p) for p in layer.parameters()):
            return f"a weight of {name} is not finite"
    values = images
    with torch.no_grad():
        for name, layer in network.named_children():
            values = layer(values)
            if not _finite(values):
                return f"{name} gives values that are not finite"
    if not _finite(loss):
        return f"the loss is {loss.item()}"
    for name, layer in reversed(list(network.named_children())):  # as gradients are made
        if not all(_finite(p.grad) for p in layer.parameters() if p.grad is not None):
            return f"a gradient of {name} is not finite"
    return None


class OnItsWay:
    """A truth value that a device is still computing; asking for it waits for what was computed until then, not after.

    Args:
        value: a boolean tensor of one element.
    """

    def __init__(self, value: Tensor) -> None:
        self._value, self._event = value, None
        if value.is_cuda:
            self._value = torch.empty((), dtype=torch.bool, pin_memory=True).copy_(value, non_blocking=True)
            self._event = torch.cuda.Event()
            self._event.record()

    def __bool__(self) -> bool:
        if self._event is not None:
            self._event.synchronize()
        return bool(self._value)


def infinite_weight(network: nn.Module) -> str | None:
    """The first layer with a weight, or a statistic of its norm, that is not finite."""
    for name, layer in network.named_children():
        if not all(_finite(t) for t in layer.state_dict().values()):
            return name
    return None


def _finite(values: Tensor) -> bool:
    return bool(torch.isfinite(values).all())
