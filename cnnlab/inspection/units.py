"""Find a layer's main weight, its activation and its dead units."""

import torch
from torch import Tensor, nn

from cnnlab.inspection.look import layers_of
from cnnlab.models.hooks import watch
from cnnlab.training.classifier import Classifier

IMAGES = 250  # validation examples for which activations are computed


def main_weight(unit: nn.Module) -> Tensor | None:
    """Return a layer's first parameter of two or more axes: its filters or its matrix; None without any."""
    return next((p for p in unit.parameters() if p.ndim > 1), None)


def activation_of(unit: nn.Module) -> nn.Module:
    """Return the activation module of a layer, or the whole layer if it has none."""
    activation = getattr(unit, "activation", None)
    return activation if isinstance(activation, nn.Module) else unit


def activations(classifier: Classifier, images: Tensor) -> dict[str, Tensor]:
    """Return the activations of every layer, by name, for the first `IMAGES` validation examples."""
    found: dict[str, Tensor] = {}
    parts = {name: activation_of(classifier.network.get_submodule(name)) for name in layers_of(classifier)}
    with torch.no_grad(), watch(parts, lambda name, inputs, output: found.update({name: output})):
        classifier.network(images[:IMAGES].to(classifier.device))
    return found


def dead_units(classifier: Classifier, layer: str, values: Tensor) -> list[int] | None:
    """Return the units (channels, or values of a vector) of a layer that are 0 for all examples; None without a ReLU.

    `values` (N, C, ...) are the layer's activations.
    """
    if not isinstance(activation_of(classifier.network.get_submodule(layer)), nn.ReLU):
        return None
    return (values.flatten(2).amax((0, 2)) if values.ndim > 2 else values.amax(0)).le(0).nonzero().flatten().tolist()
