"""Parts of a layer that lookers look at, and which of its units are dead."""

import torch
from torch import Tensor, nn

from cnnlab.inspection.look import layers_of
from cnnlab.models.hooks import watch
from cnnlab.training.classifier import Classifier

IMAGES = 250  # validation examples for all of which a dead unit gives 0


def main_weight(unit: nn.Module) -> Tensor | None:
    """The weights that make a layer what it is: the first of two or more axes."""
    return next((p for p in unit.parameters() if p.ndim > 1), None)


def activation_of(unit: nn.Module) -> nn.Module:
    """The part of a layer whose output is looked at: its activation, or the whole of it."""
    activation = getattr(unit, "activation", None)
    return activation if isinstance(activation, nn.Module) else unit


def activations(classifier: Classifier, images: Tensor) -> dict[str, Tensor]:
    """Return what the activation of every layer gives for the first validation examples, by layer."""
    found: dict[str, Tensor] = {}
    parts = {name: activation_of(classifier.network.get_submodule(name)) for name in layers_of(classifier)}
    with torch.no_grad(), watch(parts, lambda name, inputs, output: found.update({name: output})):
        classifier.network(images[:IMAGES].to(classifier.device))
    return found


def dead_units(classifier: Classifier, layer: str, values: Tensor) -> list[int] | None:
    """Return the units (channels, or values of a vector) of a layer that give 0 throughout; None where no ReLU is.

    Its activation gives `values` (N, C, ...) for some examples.
    """
    if not isinstance(activation_of(classifier.network.get_submodule(layer)), nn.ReLU):
        return None
    return (values.flatten(2).amax((0, 2)) if values.ndim > 2 else values.amax(0)).le(0).nonzero().flatten().tolist()
