"""Draw the ConvNetJS panel (Karpathy 2014): every layer's activations, weights and their gradients."""

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from cnnlab.data.forms import as_floats
from cnnlab.inspection.look import Findings, Look, as_input, layers_of
from cnnlab.inspection.pictures import axes_in_words, scales_of, tiles
from cnnlab.inspection.plates import Inputs
from cnnlab.inspection.sentences import sentence
from cnnlab.inspection.units import activations, dead_units, main_weight
from cnnlab.inspection.weights import maps_plate, weights_plate
from cnnlab.models.hooks import watch
from cnnlab.models.table import Row
from cnnlab.training.classifier import Classifier
from cnnlab.training.datamodule import DataModule

CHANNELS = 16  # shown of a layer
ANSWERS = 5  # classes named for an image
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
        """Return pictures, ranges and a line of text for every layer."""
        images, labels = data.val.inputs[: self.images], data.val.labels[: self.images].to(classifier.device)
        dead = dead_maps(classifier, data.val.inputs)
        return panel(classifier, images, labels, dead=dead, axes=axes_in_words(scales_of(data)))


def dead_maps(classifier: Classifier, images: Tensor) -> dict[str, list[int]]:
    """Return the dead units of every layer that has any, for the first images."""
    found = {name: dead_units(classifier, name, v) for name, v in activations(classifier, images).items()}
    return {name: dead for name, dead in found.items() if dead}


def panel(
    classifier: Classifier,
    images: Tensor,
    labels: Tensor | None = None,
    dead: Mapping[str, list[int]] | None = None,
    what: str = "validation images",
    axes: str = "",
) -> Findings:
    """Make the panel for images (N, C, H, W) of bytes; without labels, the loss is that of the predicted classes.

    The page marks the units in `dead`, by layer, calls the images `what`, and explains their `axes` in a sentence.
    """
    network, outputs = classifier.network, dict[str, Tensor]()
    layers = {name: network.get_submodule(name) for name in layers_of(classifier)}
    with watch(layers, lambda name, inputs, output: outputs.update({name: output})):
        logits = network(as_input(images, classifier))
    loss = F.cross_entropy(logits, logits.argmax(1) if labels is None else labels)
    weights = {n: w for n in outputs if (w := main_weight(network.get_submodule(n))) is not None}
    outputs_trained, weights_trained = ({n: t for n, t in d.items() if t.requires_grad} for d in (outputs, weights))
    wanted = [*outputs_trained.values(), *weights_trained.values()]
    gradients = torch.autograd.grad(loss, wanted, allow_unused=True)
    of_outputs = dict(zip(outputs_trained, gradients, strict=False))
    of_weights = dict(zip(weights_trained, gradients[len(outputs_trained) :], strict=True))
    found = Findings(plates={"filters": inputs_plate(classifier, images, logits, labels, what, axes)})
    for before, row in zip(["input", *layers], network.table, strict=False):
        name, unit = row.name, layers[row.name]
        reads = () if row.sources == (before,) else row.sources
        found.texts[f"filters/{name}"] = describe(unit, row.output_shape, row.params, reads)
        found.notes[f"filters/{name}"] = layer_line(unit, row, reads)
        for kind, values in (("activation", outputs[name]), ("gradient", of_outputs.get(name))):
            if values is None:
                continue
            for end, extreme in (("max", values.detach().max()), ("min", values.detach().min())):
                found.scalars[f"filters/{name}/{kind} {end}"] = float(extreme)
                found.notes[f"filters/{name}/{kind} {end}"] = ""  # the scale of the plate shows it
            found.pictures[f"filters/{name}/{kind}s"] = maps_picture(values)
            found.plates[f"filters/{name}/{kind}s"] = maps_plate(kind, name, values, (dead or {}).get(name, ()))
        for kind, matrix in (("weights", weights.get(name)), ("weight gradients", of_weights.get(name))):
            if matrix is not None:
                found.pictures[f"filters/{name}/{kind}"] = weights_picture(matrix)
                sees = classifier.hparams["input_shape"] if row.sources == ("input",) else None
                found.plates[f"filters/{name}/{kind}"] = weights_plate(kind, matrix, sees, len(images))
    return found


def inputs_plate(
    classifier: Classifier, images: Tensor, logits: Tensor, labels: Tensor | None, what: str, axes: str
) -> Inputs:
    """Return the panel's images with labels and predictions; for other examples their words or values."""
    best = logits.detach().softmax(1).topk(min(ANSWERS, logits.shape[1]))
    answers = [
        [(classifier.classes[i], p) for p, i in zip(*row, strict=True)]
        for row in zip(best.values.tolist(), best.indices.tolist(), strict=True)
    ]
    true_labels = None if labels is None else [classifier.classes[i] for i in labels.tolist()]
    if images.ndim == 4:
        return Inputs(what, as_floats(images.cpu()), true_labels, answers, axes=axes)
    words = classifier.facts.vocabulary
    texts = [sentence(one, words) if words else ", ".join(f"{v:.3g}" for v in one.flatten()[:8]) for one in images]
    return Inputs(what.replace("images", "examples"), None, true_labels, answers, texts)


def layer_line(unit: torch.nn.Module, row: Row, reads: Sequence[str]) -> str:
    """Describe a layer for the page: conv 5 × 5, Tanh · gives 6 × 28 × 28 · 156 parameters · each value sees ..."""

    def sized(sizes: object) -> str:
        return " × ".join(map(str, sizes)) if isinstance(sizes, Sequence) else f"{sizes} × {sizes}"

    parts = [row.kind]
    for name, module in unit.named_children():
        if (kernel := getattr(module, "kernel_size", None)) is not None:
            parts[0] += f" {sized(kernel)}"
            stride = getattr(module, "stride", 1)
            parts[0] += (
                ""
                if stride in (1, kernel) or stride == (1,) * len(row.output_shape[1:])
                else (f", stride {stride if isinstance(stride, int) else stride[0]}")
            )
        if name in ("norm", "activation"):
            parts[0] += f", {type(module).__name__}"
    parts.append(f"gives {sized(row.output_shape)}" + ("" if len(row.output_shape) > 1 else " values"))
    if count := row.params or row.frozen:
        parts.append(f"{count:,} parameters" + ("" if row.params else ", frozen"))
    if len(row.output_shape) > 1:
        field = row.receptive_field
        of = f"{sized(field)} pixels of the image" if len(row.output_shape) == 3 else f"{field} words"
        parts.append(f"each value sees {of}")
    return " · ".join(parts + ([f"reads {' and '.join(reads)}"] if reads else []))


def describe(unit: torch.nn.Module, shape: tuple[int, ...], params: int, reads: Sequence[str] = ()) -> str:
    """Describe a layer for TensorBoard: 6x28x28, filters 5x5, stride 1, 156 parameters; reads stem."""
    parts = ["x".join(map(str, shape))]
    for module in unit.children():
        if hasattr(module, "kernel_size"):
            for what, size in (("filter", module.kernel_size), ("stride", getattr(module, "stride", 1))):
                parts.append(f"{what} {size if isinstance(size, int) else 'x'.join(map(str, size))}")  # type: ignore[arg-type]
    return ", ".join([*parts, f"{params:,} parameters"]) + (f"; reads {' and '.join(reads)}" if reads else "")


def maps_picture(values: Tensor) -> Tensor:
    """Draw values (N, C, H, W), (N, C, L) or (N, C): for each image a row of maps, one map, or a strip."""
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
    """Draw filters (out, in, k, k) as tiles, in colour if they read three channels; a matrix as one picture.

    Unshared filters, (rows, columns, out, in, k, k), are laid out by position: a tile for each output channel.
    """
    if weights.ndim == 6:
        rows, columns, _, _, height, width = weights.shape
        laid = weights[:, :, :CHANNELS, 0].permute(2, 0, 3, 1, 4)  # of the first map they read
        return tiles(laid.reshape(-1, 1, rows * height, columns * width), columns=4, each=True)
    if weights.ndim != 4:
        return tiles(weights.flatten(1)[None, None, : 4 * WIDE, : 8 * WIDE], columns=1)
    if weights.shape[1] in (1, 3):
        return tiles(weights[: 4 * CHANNELS], columns=8, each=True)
    some = weights[:CHANNELS, :CHANNELS]  # a row for each filter, a tile for each channel it reads
    return tiles(some.flatten(0, 1).unsqueeze(1), columns=some.shape[1])
