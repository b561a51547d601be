"""Stop a training that diverges, and name the first layer whose values or gradients are not finite."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from cnnlab.models.network import Network

LOWER = "lower optimizer.lr"
ORDINARY = 1e4  # values and weights of a diverging training exceed this before they overflow


@dataclass
class TrainStep:
    """Everything needed to repeat a training step, kept until its loss and gradients are known to be finite."""

    epoch: int
    number: int
    inputs: Tensor
    labels: Tensor
    loss: Tensor

    def message(self, what: str) -> str:
        """Prefix a message with epoch and step."""
        return f"epoch {self.epoch + 1}, step {self.number}: {what}"


def find_divergence(network: Network, step: TrainStep, loss_of: Callable[[Tensor, Tensor], Tensor]) -> str | None:
    """Name what is not finite in a step (a weight, an activation, the loss or a gradient) and the remedy.

    The layer named is the first: forward from the inputs, for gradients backward from the loss. If its inputs and
    weights are of ordinary size, a lower learning rate would not help, and the message says so.

    The network's parameters must hold the gradients of the step; `loss_of` takes logits and labels.

    Returns None if all is finite.
    """
    layers = dict(network.named_children())
    for name, layer in layers.items():
        if not all(_finite(p) for p in layer.parameters()):
            return f"a weight of {name} is not finite; {LOWER}"
    walked: list[tuple[str, list[Tensor], Tensor]] = []
    with torch.enable_grad():
        for name, read, given in network.walk(step.inputs):
            walked.append((name, read, given))
            if not _finite(given):
                return f"{name} gives values that are not finite; {_remedy(name, layers[name], *read)}"
    if not _finite(step.loss):
        return f"the loss is {step.loss.item()}; {LOWER}"
    differentiable = [v for _, read, given in walked for v in (*read, given) if v.requires_grad]
    loss = loss_of(walked[-1][2].float(), step.labels)
    gradients = torch.autograd.grad(loss, differentiable, allow_unused=True)
    before = {id(v): g for v, g in zip(differentiable, gradients, strict=True) if g is not None}
    for name, read, given in reversed(walked):
        behind, through = before.get(id(given)), [before[id(v)] for v in read if id(v) in before]
        if behind is not None and not _finite(behind):
            return f"the loss has a gradient that is not finite; {LOWER}"
        if behind is not None and not all(map(_finite, through)):
            return f"{name} gives a gradient that is not finite; {_remedy(name, layers[name], *read, behind)}"
        if not all(_finite(p.grad) for p in layers[name].parameters() if p.grad is not None):
            return f"a gradient of {name} is not finite; {LOWER}"
    return None


def _remedy(name: str, layer: nn.Module, *given: Tensor) -> str:
    """Return the remedy for a layer whose output is not finite: a lower learning rate, or another layer."""
    largest = max((float(t.detach().abs().max()) for t in (*given, *layer.parameters()) if t.numel()), default=0.0)
    if largest > ORDINARY:
        return LOWER
    return f"it makes that by itself, of numbers up to {largest:.3g}: change {name}, a lower optimizer.lr does not help"


def refuse_infinite(
    network: Network, step: TrainStep, norm: Tensor, loss_of: Callable[[Tensor, Tensor], Tensor], clips: bool
) -> None:
    """Stop if the loss or the gradient norm is not finite, unless only the norm's own sum of squares has overflowed.

    Args:
        network, step, loss_of: as in `find_divergence`.
        norm: of the gradient, one element.
        clips: whether the gradient is clipped, for which the norm must be finite.

    Raises:
        FloatingPointError: names epoch, step and layer.
    """
    if torch.isfinite(norm + step.loss):
        return
    found = find_divergence(network, step, loss_of)
    if found or clips:
        raise FloatingPointError(step.message(found or f"the gradient norm is {norm.item()}; {LOWER}"))


def repeat_infinite(network: Network, step: TrainStep, loss_of: Callable[[Tensor, Tensor], Tensor]) -> None:
    """Repeat a step that was not finite, whose gradients have been dropped, to name the layer; then stop.

    Raises:
        FloatingPointError: names epoch, step and layer.
    """
    with torch.enable_grad():
        network.zero_grad()
        loss = loss_of(network(step.inputs).float(), step.labels)
        loss.backward()
    found = find_divergence(network, replace(step, loss=loss.detach()), loss_of)
    raise FloatingPointError(step.message(found or f"the gradient norm is infinite; {LOWER}"))


class DeferredBool:
    """A boolean that a device is still computing; `bool` waits for the work queued before it, not for later work.

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
    """Return the first layer with a weight, or a normalisation statistic, that is not finite; None if all are."""
    for name, layer in network.named_children():
        if not all(_finite(t) for t in layer.state_dict().values()):
            return name
    return None


def _finite(values: Tensor) -> bool:
    return bool(torch.isfinite(values).all())
