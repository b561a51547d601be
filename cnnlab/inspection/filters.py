"""The ConvNetJS panel (Karpathy 2014): every layer's activations, weights and their gradients, as pictures."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from cnnlab.inspection.look import Findings, Look, as_input, layers_of
from cnnlab.inspection.pictures import tiles
from cnnlab.models.hooks import watch
from cnnlab.training.classifier import Classifier
from cnnlab.training.datamodule import DataModule

CHANNELS = 16  # shown of a layer
WIDE = 64  # values in a row of a vector's picture


class Filters(Look):
    """Show every layer's size, filter, stride and parameters, and ranges and pictures of activations and gradients.

    Args:
        images: number of validation images, the first ones.
    """

    def __init__(self, every_n_epochs: int = 10, images: int = 4) -> None:
        super().__init__(every_n_epochs, images=images)
        self.images = images

    def look(self, classifier: Classifier, data: DataModule) -> Findings:
        """Pictures, ranges and a line of text for every layer."""
        assert data.val is not None
        images, labels = data.val.inputs[: self.images], data.val.labels[: self.images].to(classifier.device)
        return panel(classifier, images, labels)


def panel(classifier: Classifier, images: Tensor, labels: Tensor | None = None) -> Findings:
    """The panel for images (N, C, H, W); without labels, gradients are towards what the network answers."""
    network, outputs = classifier.network, dict[str, Tensor]()
    layers = {name: network.get_submodule(name) for name in layers_of(classifier)}
    with watch(layers, lambda name, inputs, output: outputs.update({name: output})):
        logits = network(as_input(images, classifier))
    loss = F.cross_entropy(logits, logits.argmax(1) if labels is None else labels)
    weights = {n: w for n in outputs if (w := main_weight(network.get_submodule(n))) is not None}
    outputs_trained, weights_trained = ({n: t for n, t in d.items() if t.requires_grad} for d in (outputs, weights))
    asked = [*outputs_trained.values(), *weights_trained.values()]
    gradients = torch.autograd.grad(loss, asked, allow_unused=True)
    of_outputs = dict(zip(outputs_trained, gradients, strict=False))
    of_weights = dict(zip(weights_trained, gradients[len(outputs_trained) :], strict=True))
    found = Findings()
    for before, row in zip(["input", *layers], network.table, strict=False):
        name = row.name
        reads = () if row.sources == (before,) else row.sources
        found.texts[f"filters/{name}"] = describe(network.get_submodule(name), row.output_shape, row.params, reads)
        for what, values in (("activation", outputs[name]), ("gradient", of_outputs.get(name))):
            if values is None:
                continue
            found.scalars[f"filters/{name}/{what} max"] = float(values.detach().max())
            found.scalars[f"filters/{name}/{what} min"] = float(values.detach().min())
            found.pictures[f"filters/{name}/{what}s"] = maps_picture(values)
        for what, matrix in (("weights", weights.get(name)), ("weight gradients", of_weights.get(name))):
            if matrix is not None:
                found.pictures[f"filters/{name}/{what}"] = weights_picture(matrix)
    return found


def describe(unit: torch.nn.Module, shape: tuple[int, ...], params: int, reads: Sequence[str] = ()) -> str:
    """A layer in a line: 6x28x28, filters 5x5, stride 1, 156 parameters; reads stem."""
    parts = ["x".join(map(str, shape))]
    for module in unit.children():
        if hasattr(module, "kernel_size"):
            for what, size in (("filter", module.kernel_size), ("stride", getattr(module, "stride", 1))):
                parts.append(f"{what} {size if isinstance(size, int) else 'x'.join(map(str, size))}")  # type: ignore[arg-type]
    return ", ".join([*parts, f"{params:,} parameters"]) + (f"; reads {' and '.join(reads)}" if reads else "")


def main_weight(unit: torch.nn.Module) -> Tensor | None:
    """The weights that make a layer what it is: the first of two or more axes."""
    return next((p for p in unit.parameters() if p.ndim > 1), None)


def maps_picture(values: Tensor) -> Tensor:
    """Values (N, C, H, W), (N, C, L) or (N, C): for each image tiles of its channels, one tile of these, or a strip."""
    if values.ndim == 4:
        maps = values[:, :CHANNELS]
        return tiles(maps.flatten(0, 1).unsqueeze(1), columns=maps.shape[1])
    if values.ndim == 3 and values.shape[2] > 1:  # a row for each channel, along the positions of a sentence
        return tiles(values[:, :CHANNELS].unsqueeze(1), columns=1)
    values = values.flatten(1)
    wide = min(WIDE, values.shape[1])
    values = F.pad(values, (0, -values.shape[1] % wide), value=float(values.detach().min()))
    return tiles(values.view(len(values), 1, -1, wide), columns=1)


def weights_picture(weights: Tensor) -> Tensor:
    """Filters (out, in, k, k) as tiles, in colour where they see three channels; a matrix as one picture.

    Filters that are not shared, (rows, columns, out, in, k, k), lie where they look: a tile for each output.
    """
    if weights.ndim == 6:
        rows, columns, _, _, height, width = weights.shape
        laid = weights[:, :, :CHANNELS, 0].permute(2, 0, 3, 1, 4)  # of the first map that they see
        return tiles(laid.reshape(-1, 1, rows * height, columns * width), columns=4, each=True)
    if weights.ndim != 4:
        return tiles(weights.flatten(1)[None, None, : 4 * WIDE, : 8 * WIDE], columns=1)
    if weights.shape[1] in (1, 3):
        return tiles(weights[: 4 * CHANNELS], columns=8, each=True)
    some = weights[:CHANNELS, :CHANNELS]  # a row for each filter, a tile for each channel it sees
    return tiles(some.flatten(0, 1).unsqueeze(1), columns=some.shape[1])
