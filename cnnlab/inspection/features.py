"""What a feature sees (Zeiler & Fergus 2014): the patches that excite a channel most, and what of them excites it."""

import warnings
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cnnlab.data.forms import Facts
from cnnlab.inspection.filters import main_weight
from cnnlab.inspection.look import Findings, Look, as_input
from cnnlab.inspection.pictures import tiles
from cnnlab.inspection.sentences import filters_of, ngrams
from cnnlab.models.hooks import watch
from cnnlab.models.table import Reach
from cnnlab.training.classifier import Classifier
from cnnlab.training.datamodule import DataModule

TOP = 9
BATCH = 250


class Features(Look):
    """Show channels of every convolution: top-9 patches, guided backpropagation of each, activation maximisation.

    Of sentences it lists the n-grams that excite a channel most.

    Args:
        images: number of validation images that are searched, the first ones.
        channels: number of channels of each layer, those that images excite most.
        steps: number of steps of gradient ascent.
    """

    needs = ("captum.attr", "torchvision.utils")

    def __init__(self, every_n_epochs: int = 10, images: int = 1000, channels: int = 4, steps: int = 20) -> None:
        super().__init__(every_n_epochs, images=images, channels=channels, steps=steps)
        self.images, self.channels, self.steps = images, channels, steps

    def misfit(self, facts: Facts) -> str | None:
        """Look at pictures alone."""
        return None if len(facts.shape) == 3 else "pictures"

    def look(self, classifier: Classifier, data: DataModule) -> Findings:
        """Three pictures a layer, a row for each channel; layers whose output is a vector have no patches."""
        assert data.val is not None
        found = Findings()
        images = data.val.inputs[: self.images]
        axes = 1 + max(1, len(classifier.facts.shape) - 1)  # of maps, with the channels; a sentence has one
        layers = [
            r.name for r in classifier.network.table if len(r.output_shape) == axes and has_filters(classifier, r.name)
        ]
        if classifier.facts.vocabulary:
            for name, (values, places) in strongest(
                classifier, images, filters_of(classifier.network.table, layers)
            ).items():
                found.texts |= ngrams(classifier, images, name, values, places, self.channels).texts
            return found
        for name, (values, places) in strongest(classifier, images, layers).items():
            channels = values[:TOP].mean(0).argsort(descending=True)[: self.channels]
            patches, causes = [], []
            for channel in channels.tolist():
                top = values[:, channel].argsort(descending=True)[:TOP]
                chosen, at = images[top], places[top, channel]
                reach = classifier.network.reaches[name]
                patches.append(crops(chosen.float() / 255, at, reach))
                causes.append(crops(guided(classifier, name, channel, at, chosen).cpu(), at, reach))
            rows = min(TOP, len(images))
            found.pictures[f"features/{name}/patches"] = tiles(torch.cat(patches), columns=rows)
            found.pictures[f"features/{name}/what excites"] = tiles(torch.cat(causes), columns=rows, each=True)
            best = maximise(classifier, name, channels, self.steps)
            found.pictures[f"features/{name}/maximised"] = tiles(best, columns=len(best), each=True)
        return found


def has_filters(classifier: Classifier, layer: str) -> bool:
    """Return whether a layer has weights that make its channels what they are; a norm or a sum only passes them on."""
    return main_weight(classifier.network.get_submodule(layer)) is not None


def strongest(classifier: Classifier, images: Tensor, layers: list[str]) -> dict[str, tuple[Tensor, Tensor]]:
    """For every layer the largest value (N, C) of each channel in each image, and where it is (N, C, axes)."""
    found: dict[str, list[tuple[Tensor, Tensor]]] = {name: [] for name in layers}

    def keep(name: str, inputs: Any, output: Tensor) -> None:
        value, place = output.detach().flatten(2).max(2)
        found[name].append((value.cpu(), torch.stack(torch.unravel_index(place, output.shape[2:]), -1).cpu()))

    with watch({name: classifier.network.get_submodule(name) for name in layers}, keep):
        classifier.walk(images, BATCH)
    return {n: (torch.cat([v for v, _ in parts]), torch.cat([p for _, p in parts])) for n, parts in found.items()}


def crops(images: Tensor, places: Tensor, reach: Reach) -> Tensor:
    """Of each image (N, C, H, W) what a value at (row, column) sees, as large as its receptive field; grey beyond."""
    height, width = reach.size
    parts = []
    for image, place in zip(images, places.tolist(), strict=True):
        top, left = (f + at * step for f, at, step in zip(reach.first, place, reach.step, strict=True))
        padded = F.pad(image, (width, width, height, height), value=0.5 if image.min() >= 0 else 0.0)
        parts.append(padded[:, max(0, top + height) :, max(0, left + width) :][:, :height, :width])
    return torch.stack([F.pad(p, (0, width - p.shape[2], 0, height - p.shape[1])) for p in parts])


def guided(classifier: Classifier, layer: str, channel: int, places: Tensor, images: Tensor) -> Tensor:
    """Guided backpropagation (Springenberg et al. 2015) of one value for each image; without ReLUs, the gradient."""
    from captum.attr import NeuronGradient, NeuronGuidedBackprop

    network = classifier.network
    method = NeuronGuidedBackprop if any(isinstance(m, nn.ReLU) for m in network.modules()) else NeuronGradient
    index = torch.arange(len(images))

    def value(output: Tensor) -> Tensor:
        return output[index, channel, places[:, 0], places[:, 1]]

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Captum says each time that it hooks the ReLUs
        attribution = method(network, network.get_submodule(layer))
        result: Tensor = attribution.attribute(as_input(images, classifier), value).detach()
    return result


def maximise(classifier: Classifier, layer: str, channels: Tensor, steps: int) -> Tensor:
    """An image for each channel that excites it much, by gradient ascent from grey noise (Erhan et al. 2009)."""
    generator = torch.Generator().manual_seed(0)
    shape = (len(channels), *classifier.hparams["input_shape"])
    images = (0.5 + 0.1 * torch.randn(shape, generator=generator)).to(classifier.device).requires_grad_()
    optimizer = torch.optim.Adam([images], lr=0.05)
    for _ in range(steps):
        output = next(output for name, _, output in classifier.network.walk(images) if name == layer)
        excited = output[torch.arange(len(channels)), channels].flatten(1).mean(1)
        loss = -excited.sum() + 0.1 * (images - 0.5).square().sum()
        (images.grad,) = torch.autograd.grad(loss, [images])
        optimizer.step()
        images.data.clamp_(0, 1)
    return images.detach()
