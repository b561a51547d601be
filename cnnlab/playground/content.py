"""All that a page of a run holds: its network, some validation pictures, how pictures are prepared, names."""

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

ROOM = 2**20  # bytes of all pictures together, at most; twelve are taken in any case
FEWEST = 12


def content(run: Record, pictures: int, step: Announce = lambda name: None) -> tuple[dict[str, Any], Store]:
    """Gather what the page of a run holds, as JSON and the bytes that it points into.

    Args:
        run: a finished run.
        pictures: validation pictures in the page, at most; fewer where they are large.
        step: told what is being done.

    Raises:
        ValueError: no checkpoint, or a network that the page cannot compute.
    """
    name, data = run.config["model"]["name"], run.config["data"]
    classifier = load_trained(run)
    operations(classifier.network)  # refused before validation images are looked at
    step("means of the layers")
    shown, names, means = Examples(torch.zeros(0), torch.zeros(0)), list[str](), dict[str, Tensor]()
    if pictures and not without_images(data):
        shown, names = some_pictures(run, classifier, pictures)
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


def noun(its: Form) -> str:
    """What the page calls an example."""
    return "picture" if its is PICTURES else its.name


def axes(run: Record, classifier: Classifier) -> list[dict[str, Any] | None]:
    """Say of rows and columns what they mean: its name, and where ticks stand, as shares of the side, with labels."""
    its, sides = form(run.config["data"]), classifier.facts.shape[-2:]
    scales = its.scales(classifier.facts, run.config["data"]) if its.scales else {}
    found: list[dict[str, Any] | None] = []
    for name, side in zip(its.axes[-2:], sides, strict=True):
        if (scale := scales.get(name)) is None:
            found.append(None)
            continue
        places, labels = placed_ticks(scale.values, scale.unit)
        found.append({"name": name, "places": [(place + 0.5) / side for place in places], "labels": labels})
    return found


def size_and_accuracy(run: Record, classifier: Classifier) -> str:
    """Say in a line how large the network of a run is and how well it did."""
    network, accuracy = classifier.network, run.metrics.get("test/acc")
    size = (
        f"{len(network.table)} layers, {network.params:,} parameters, {network.macs:,} multiply-adds for a "
        f"{noun(form(run.config['data']))}"
    )
    return size + (f"; test accuracy {accuracy:.2%}" if accuracy is not None else "")


def some_pictures(run: Record, classifier: Classifier, count: int) -> tuple[Examples, list[str]]:
    """Return validation images as the network takes them, drawn by chance but always the same, and their names."""
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
    """Say how the page makes an input of a drawing or of a picture file, as `read_input` does."""
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
        "paper": 0 if edges is None or edges.mean() < 0.5 else 1,  # of a drawing: dark, or bright
    }


def noise(classifier: Classifier) -> Tensor:
    """Return images drawn by chance, always the same, for a network without a dataset."""
    shape = classifier.hparams["input_shape"]
    return torch.rand(FEWEST, *shape, generator=torch.Generator().manual_seed(0))
