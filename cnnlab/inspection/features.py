"""Visualise features: their strongest patches (Zeiler & Fergus 2014), gradients, and images made to excite them."""

import warnings
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cnnlab.data.examples import Examples
from cnnlab.data.forms import Facts, as_floats
from cnnlab.inspection.ascent import Spectrum, excitement, gradient_ascent, maco
from cnnlab.inspection.look import Findings, Look, as_input
from cnnlab.inspection.pictures import on_grey, tiles
from cnnlab.inspection.plates import Card, Pictures, Strip, Tile
from cnnlab.inspection.sentences import ngrams
from cnnlab.inspection.units import activation_of, dead_units, main_weight
from cnnlab.models.hooks import watch
from cnnlab.models.layers import KINDS
from cnnlab.models.table import Reach, class_layer
from cnnlab.training.classifier import Classifier
from cnnlab.training.datamodule import DataModule

TOP = 9  # patches for a channel
BATCH = 250
CLASSES = 10  # classes for which images are made, at most

TITLE = "What its maps answer to"
MADE = (
    "gradient ascent changes its pixels step by step, from noise; MACO changes only the phases of its spectrum and "
    "keeps how strong each frequency is in the data, and what had no influence fades into grey"
)
SAYS = (
    "The {shown} maps that {images} validation images excite most. Where it answers most: the images, up to {top}, in "
    "which the map is largest, with their labels, cut out as far as the largest value sees ({size} pixels; grey lies "
    "beyond the edge). Which pixels raise it, by {method}: {colours}. Made to excite it: " + MADE + "."
)
GREY = "red where that value grows with the pixel, blue where it falls"
COLOURED = "what is lit in a colour raises that value with it, and grey does not matter"
CLASS_TITLE = "Images made for a class"
CLASS_SAYS = (
    "What the network finds most like each class, which need not look like it: an image made to raise the class's "
    "value. G" + MADE[1:] + "."
)


class Features(Look):
    """Show channels of every convolution: top-9 patches, guided backpropagation of each, images made for it.

    For sentences it lists the n-grams that excite a channel most.

    Args:
        images: number of validation images that are searched, the first ones.
        channels: number of channels of each layer, those that images excite most.
        steps: number of steps of gradient ascent, and of MACO.
    """

    needs = ("captum.attr", "torchvision.utils")

    def __init__(self, every_n_epochs: int = 10, images: int = 1000, channels: int = 4, steps: int = 20) -> None:
        super().__init__(every_n_epochs, images=images, channels=channels, steps=steps)
        self.images, self.channels, self.steps = images, channels, steps

    def misfit(self, facts: Facts) -> str | None:
        """Look at images and sentences only."""
        return None if facts.vocabulary or len(facts.shape) == 3 else "pictures and sentences"

    def look(self, classifier: Classifier, data: DataModule) -> Findings:
        """Draw four pictures for each layer, a row for each channel; for classes only the two made for them."""
        found = Findings()
        val = Examples(data.val.inputs[: self.images], data.val.labels[: self.images])
        table = classifier.network.table
        if classifier.facts.vocabulary:
            return self._look_at_sentences(classifier, val.inputs)
        spectrum = Spectrum.of(as_floats(val.inputs.to(classifier.device)))
        layers = [r.name for r in table if len(r.output_shape) == 3 and has_filters(classifier, r.name)]
        for name, (values, places) in strongest(classifier, val.inputs, layers).items():
            dead = dead_units(classifier, name, values)
            order = values.topk(min(TOP, len(values)), 0).values.mean(0).argsort(descending=True).tolist()
            channels = [channel for channel in order if channel not in (dead or [])][: self.channels]
            if not channels:
                continue
            made = self._make_images(classifier, name, channels, spectrum)
            self._add_pictures(found, name, made)
            cards = []
            for channel, last in zip(channels, made, strict=True):
                best = values[:, channel].argsort(descending=True)[:TOP]
                if dead is not None:  # behind a ReLU, 0 means that nothing excites the channel
                    best = best[values[best, channel] > 0]
                patches = patches_of(classifier, name, channel, val, best, places[best, channel])
                cards.append(Card(f"map {channel}", [*patches, last]))
            for place, what in enumerate(("strongest patches", "pixels that raise it")):
                found.pictures[f"features/{name}/{what}"] = rows([card.strips[place] for card in cards])
            says = SAYS.format(
                shown=len(channels),
                images=f"{len(values):,}",
                top=TOP,
                size=" × ".join(map(str, classifier.network.reaches[name].size)),
                method="guided backpropagation" if has_relu(classifier) else "the gradient",
                colours=GREY if val.inputs.shape[1] == 1 else COLOURED,
            )
            found.plates[f"features/{name}/strongest patches"] = Pictures(TITLE, says, cards)
        self._add_classes(classifier, found, spectrum)
        return found

    def _look_at_sentences(self, classifier: Classifier, ids: Tensor) -> Findings:
        """List the n-grams that excite channels most, for layers whose output has positions."""
        found, table = Findings(), classifier.network.table
        slide = [r.name for r in table if len(r.output_shape) == 2 and not KINDS[r.kind].reads_words]
        layers = [name for name in slide if has_filters(classifier, name)]
        for name, (values, places) in strongest(classifier, ids, layers).items():
            found.texts |= ngrams(classifier, ids, name, values, places, self.channels).texts
        return found

    def _add_classes(self, classifier: Classifier, found: Findings, spectrum: Spectrum) -> None:
        """Add images made for the classes."""
        name = class_layer(classifier.network.table)
        classes = list(range(min(CLASSES, len(classifier.classes))))
        made = self._make_images(classifier, name, classes, spectrum)
        self._add_pictures(found, name, made)
        cards = [
            Card(f"class {classifier.classes[i]}", [replace(strip, says="")])
            for i, strip in zip(classes, made, strict=True)
        ]
        title = CLASS_TITLE + (f", the first {CLASSES}" if len(classifier.classes) > CLASSES else "")
        found.plates[f"features/{name}/made for classes"] = Pictures(title, CLASS_SAYS, cards)

    def _make_images(self, classifier: Classifier, name: str, channels: list[int], spectrum: Spectrum) -> list[Strip]:
        """Return a strip for each channel: the two images made to excite it."""
        excited = excitement(classifier, name, torch.tensor(channels))
        shape = (len(channels), *classifier.hparams["input_shape"])
        noise = 0.5 + 0.1 * torch.randn(shape, generator=torch.Generator().manual_seed(0))
        plain = gradient_ascent(excited, noise.to(classifier.device), self.steps).cpu()
        constrained, opaque = maco(excited, spectrum, len(channels), self.steps)
        return [
            Strip("made to excite it", [Tile(one, "gradient ascent"), Tile(other, "MACO", opaque=seen)], wide=112)
            for one, other, seen in zip(plain, constrained.cpu(), opaque.cpu(), strict=True)
        ]

    def _add_pictures(self, found: Findings, name: str, made: list[Strip]) -> None:
        """Add the images made for a layer's channels as pictures for TensorBoard."""
        for place, what in enumerate(("gradient ascent", "MACO")):
            shown = torch.stack([on_grey(strip.tiles[place]) for strip in made])
            found.pictures[f"features/{name}/{what}"] = tiles(shown, columns=len(made), each=True)


def patches_of(
    classifier: Classifier, layer: str, channel: int, val: Examples, best: Tensor, places: Tensor
) -> list[Strip]:
    """Return, for the images `best` of `val`, the patches that a channel's values see, and which pixels raise these.

    `places` (N, 2) are the rows and columns of the values.
    """
    reach, images = classifier.network.reaches[layer], val.inputs[best]
    seen = crops(images.float() / 255, places, reach)
    causes = crops(guided(classifier, layer, channel, places, images).cpu(), places, reach, beyond=0.0)
    causes = 0.5 + 0.5 * causes / causes.abs().amax((1, 2, 3), keepdim=True).clamp(min=1e-30)
    labels = [classifier.classes[label] for label in val.labels[best].tolist()]
    return [
        Strip("where it answers most", [Tile(image, label) for image, label in zip(seen, labels, strict=True)]),
        Strip("which pixels raise it", [Tile(cause, signed=len(cause) == 1) for cause in causes]),
    ]


def rows(strips: list[Strip]) -> Tensor:
    """Draw strips as a picture for TensorBoard, a row for each, with grey in place of missing tiles."""
    parts = [torch.stack([tile.image for tile in strip.tiles]) for strip in strips]
    longest = max(map(len, parts))
    padded = [F.pad(part, (0, 0, 0, 0, 0, 0, 0, longest - len(part)), value=0.5) for part in parts]
    return tiles(torch.cat(padded), columns=longest)


def has_filters(classifier: Classifier, layer: str) -> bool:
    """Return whether a layer has filters; a norm or a sum only passes channels on."""
    return main_weight(classifier.network.get_submodule(layer)) is not None


def has_relu(classifier: Classifier) -> bool:
    """Return whether the network has a ReLU, which guided backpropagation needs."""
    return any(isinstance(module, nn.ReLU) for module in classifier.network.modules())


def strongest(classifier: Classifier, images: Tensor, layers: list[str]) -> dict[str, tuple[Tensor, Tensor]]:
    """Return for every layer the largest value (N, C) of each channel in each image, and its position (N, C, axes)."""
    found: dict[str, list[tuple[Tensor, Tensor]]] = {name: [] for name in layers}

    def keep(name: str, inputs: Any, output: Tensor) -> None:
        value, place = output.detach().flatten(2).max(2)
        found[name].append((value.cpu(), torch.stack(torch.unravel_index(place, output.shape[2:]), -1).cpu()))

    with watch({name: classifier.network.get_submodule(name) for name in layers}, keep):
        classifier.walk(images, BATCH)
    return {n: (torch.cat([v for v, _ in parts]), torch.cat([p for _, p in parts])) for n, parts in found.items()}


def crops(images: Tensor, places: Tensor, reach: Reach, beyond: float = 0.5) -> Tensor:
    """Crop each image (N, C, H, W) to the receptive field of a value at (row, column), padded with `beyond`."""
    height, width = reach.size
    parts = []
    for image, place in zip(images, places.tolist(), strict=True):
        top, left = (f + at * step for f, at, step in zip(reach.first, place, reach.step, strict=True))
        padded = F.pad(image, (width, width, height, height), value=beyond)
        parts.append(padded[:, max(0, top + height) :, max(0, left + width) :][:, :height, :width])
    return torch.stack([F.pad(p, (0, width - p.shape[2], 0, height - p.shape[1]), value=beyond) for p in parts])


def guided(classifier: Classifier, layer: str, channel: int, places: Tensor, images: Tensor) -> Tensor:
    """Compute guided backpropagation (Springenberg et al. 2015) of one value for each image.

    Without ReLUs it is the gradient of the value before the activation, which saturation would make vanish.
    """
    from captum.attr import NeuronGradient, NeuronGuidedBackprop

    network, relu = classifier.network, has_relu(classifier)
    method = NeuronGuidedBackprop if relu else NeuronGradient
    unit = network.get_submodule(layer)
    part = unit if relu else activation_of(unit)
    index = torch.arange(len(images))

    def value(output: Tensor) -> Tensor:
        return output[index, channel, places[:, 0], places[:, 1]]

    with warnings.catch_warnings(action="ignore"):  # Captum warns each time that it hooks the ReLUs
        attribution = method(network, part)
        before = {"attribute_to_neuron_input": part is not unit}
        result: Tensor = attribution.attribute(as_input(images, classifier), value, **before).detach()
    return result
