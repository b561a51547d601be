"""Gather the content of a run's page: network, validation pictures, preparation of inputs, names."""

import math
from typing import Any

import torch
from torch import Tensor

from cnnlab.data.examples import Examples
from cnnlab.data.forms import Form
from cnnlab.data.images import PICTURES, permute_pixels
from cnnlab.data.load import form
from cnnlab.data.sources import source
from cnnlab.playground.describe import describe, operations
from cnnlab.playground.store import Store
from cnnlab.reporting.axis import placed_ticks
from cnnlab.reporting.steps import Announce
from cnnlab.runs.record import Record
from cnnlab.trained.given import without_images
from cnnlab.trained.load import labels_of_run, load_data
from cnnlab.trained.silence import validation_means
from cnnlab.training.classifier import Classifier
from cnnlab.training.load import load_trained

ROOM = 2**20  # bytes of all pictures together, at most; FEWEST are taken in any case
FEWEST = 12


def content(run: Record, pictures: int, step: Announce = lambda name: None) -> tuple[dict[str, Any], Store]:
    """Gather the content of a run's page, as JSON and the bytes that it points into.

    Args:
        run: a finished run.
        pictures: validation pictures in the page, at most; fewer where they are large.
        step: called with the name of each step.

    Raises:
        ValueError: there is no checkpoint, or the page cannot compute the network.
    """
    name, data = run.config["model"]["name"], run.config["data"]
    classifier = load_trained(run)
    operations(classifier.network)  # raises before validation images are loaded
    step("means of the layers")
    shown, names, means = Examples(torch.zeros(0), torch.zeros(0)), list[str](), dict[str, Tensor]()
    if pictures and not without_images(data):
        shown, names = draw_pictures(run, classifier, pictures)
        means = validation_means(run, classifier)
    step("weights")
    checked = shown.inputs if len(shown) else noise(classifier)
    described, store = describe(classifier.network, checked, means)
    return {
        "title": name if without_images(data) else f"{name} on {data['name']}",
        "lead": size_and_accuracy(run, classifier),
        "classes": classifier.classes,
        "pictures": {
            "start": store.add(shown.inputs.numpy()),
            "labels": shown.labels.tolist(),
            "names": names,
        },
        "prepare": preparation(run, classifier, shown.inputs),
        "example": noun(form(data)),
        "drawn": form(data) is PICTURES,  # whether an input may be drawn, or opened from a picture file
        "axes": axes(run, classifier),
        **described,
    }, store


def noun(data_form: Form) -> str:
    """Return the page's word for an example."""
    return "picture" if data_form is PICTURES else data_form.name


def axes(run: Record, classifier: Classifier) -> list[dict[str, Any] | None]:
    """Describe rows and columns: name, and positions (shares of the side) and labels of ticks; None for pixels."""
    data_form, sides = form(run.config["data"]), classifier.facts.shape[-2:]
    scales = data_form.scales(classifier.facts, run.config["data"]) if data_form.scales else {}
    found: list[dict[str, Any] | None] = []
    for name, side in zip(data_form.axes[-2:], sides, strict=True):
        if (scale := scales.get(name)) is None:
            found.append(None)
            continue
        places, labels = placed_ticks(scale.values, scale.unit)
        found.append({"name": name, "places": [(place + 0.5) / side for place in places], "labels": labels})
    return found


def size_and_accuracy(run: Record, classifier: Classifier) -> str:
    """Describe the size and the test accuracy of a run's network in a line."""
    network, accuracy = classifier.network, run.metrics.get("test/acc")
    size = (
        f"{len(network.table)} layers, {network.params:,} parameters, {network.macs:,} multiply-adds for a "
        f"{noun(form(run.config['data']))}"
    )
    return size + (f"; test accuracy {accuracy:.2%}" if accuracy is not None else "")


def draw_pictures(run: Record, classifier: Classifier, count: int) -> tuple[Examples, list[str]]:
    """Draw validation images at random with a fixed seed; return them as the network takes them, and their names."""
    data = load_data(run, classifier)
    labels = labels_of_run(data.val.labels, data.classes, classifier.classes, run.config["data"]["name"])
    size = data.val.inputs[0].numel()
    count = min(count, len(labels), max(FEWEST, ROOM // size))
    chosen = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))[:count].sort().values
    example = noun(form(run.config["data"]))
    names = [f"validation {example} {i}, {classifier.classes[labels[i]]}" for i in chosen.tolist()]
    return Examples(data.val.inputs[chosen].contiguous(), labels[chosen]), names


def pictures_of(described: dict[str, Any], store: Store) -> Tensor:
    """Return the pictures (N, C, H, W) of a page."""
    pictures, shape = described["pictures"], described["input"]["shape"]
    start, count = pictures["start"], len(pictures["labels"])
    end = start + count * math.prod(shape)
    return torch.tensor(bytearray(store.bytes[start:end]), dtype=torch.uint8).view(count, *shape)


def preparation(run: Record, classifier: Classifier, pictures: Tensor) -> dict[str, Any]:
    """Describe how the page turns a drawing or a picture file into an input, as `read_input` does."""
    config, (_, height, width) = run.config["data"], classifier.hparams["input_shape"]
    order = permute_pixels(torch.arange(height * width).view(1, 1, height, width)) if config["permute_pixels"] else None
    is_made = config["crop"] or form(config) is not PICTURES
    own = (height, width) if is_made else source(config).facts(config)[0][1:]
    edges = torch.cat([pictures[..., 0, :], pictures[..., -1, :]], -1).float() / 255 if len(pictures) else None
    return {
        "own": list(own),  # height and width of the dataset's images before they are scaled
        "resize": config["resize"],
        "crop": config["crop"],
        "trim": config["trim"],
        "order": None if order is None else order.flatten().tolist(),
        "paper": 0 if edges is None or edges.mean() < 0.5 else 1,  # background of a drawing: dark, or bright
    }


def noise(classifier: Classifier) -> Tensor:
    """Return random images with a fixed seed, for a network without a dataset."""
    shape = classifier.hparams["input_shape"]
    return torch.rand(FEWEST, *shape, generator=torch.Generator().manual_seed(0))
