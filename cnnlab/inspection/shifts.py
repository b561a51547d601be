"""Measure how much each layer changes when the image is shifted by a few pixels."""

from collections import defaultdict

import torch
from torch import Tensor

from cnnlab.data.forms import Facts
from cnnlab.data.images import permute_pixels
from cnnlab.inspection.bars import bars
from cnnlab.inspection.look import Findings, Look, layers_of
from cnnlab.models.hooks import watch
from cnnlab.reporting.tables import Table, show
from cnnlab.training.classifier import Classifier
from cnnlab.training.datamodule import DataModule

PART = 50  # images in a batch, each with all its shifts
SAYS = (
    "A bar for each layer: how far its values move when the image does, as a share of how far they are from those of "
    "another image. At 0 the layer does not notice; at 100 % it might as well be another image."
)


class Shifts(Look):
    """Shift images along each axis, either way, and measure how many inputs change, and how much each layer does.

    A layer's change is the distance between its values for an image and for the shifted one, as a share of the distance
    between its values for two different images (root mean squares): 0 if it is invariant, 100 % if the shifted image
    might as well be another one.

    Args:
        images: number of validation images, the first ones.
        pixels: size of the shift; the edge is repeated.
    """

    needs = ("matplotlib.figure", "matplotlib.backends.backend_agg")

    def __init__(self, every_n_epochs: int = 10, images: int = 200, pixels: int = 2) -> None:
        super().__init__(every_n_epochs, images=images, pixels=pixels)
        self.images, self.pixels = images, pixels

    def misfit(self, facts: Facts) -> str | None:
        """Look at images only."""
        return None if len(facts.shape) == 3 else "pictures"

    def look(self, classifier: Classifier, data: DataModule) -> Findings:
        """Return the changes as bars and scalars, and a sentence."""
        rows, changed, kept = shifts(
            classifier, data.val.inputs[: self.images], self.pixels, bool(data.config.get("permute_pixels"))
        )
        count = data.val.inputs[0].numel()
        changes = {row["layer"]: row["change"] for row in rows}
        last = rows[-1]["layer"]
        pixels = f"{self.pixels} pixel{'s' if self.pixels > 1 else ''}"
        found = Findings()
        found.texts["shifts"] = (
            f"Moved by {pixels}, an image changes {show(round(changed * count))} of {show(count)} inputs "
            f"({changed:.0%}). As a share of the distance between two images the inputs change by "
            f"{changes['input']:.0%}, {last} by {changes[last]:.0%}; {kept:.1%} of the answers stay."
        )
        found.scalars = {f"shifts/{name}": change for name, change in changes.items()}
        found.scalars |= {"shifts/inputs that change": changed, "shifts/answers that stay": kept}
        drawn = bars(changes, f"change by {pixels}, % of the distance between two images")
        found.draw("shifts/changes", "How far a shift moves each layer", SAYS, drawn)
        found.notes = dict.fromkeys(found.scalars, "")  # the bars and the sentence show them
        return found


@torch.no_grad()
def shifts(classifier: Classifier, images: Tensor, pixels: int, permuted: bool = False) -> tuple[Table, float, float]:
    """Return a row for each layer (`layer`, `values`, `change`), and the shares of changed inputs and kept predictions.

    The classifier is in evaluation mode, and images are (N, C, H, W), bytes; where their pixels are `permuted`, the
    original image is shifted, then permuted again.
    """
    change, length = defaultdict[str, float](float), defaultdict[str, float](float)
    total: dict[str, Tensor] = {}
    inputs, answers, ways = 0.0, 0.0, 0

    def add(name: str, values: Tensor) -> None:
        """Add up distances of the shifted images from the first, and sums for the variance over images."""
        values = values.detach().flatten(1).unflatten(0, (ways, -1)).double()
        unshifted = values[0]
        change[name] += float((values[1:] - unshifted).square().sum()) / (ways - 1)
        length[name] += float(unshifted.square().sum())
        total[name] = total.get(name, 0) + unshifted.sum(0)

    layers = {name: classifier.network.get_submodule(name) for name in layers_of(classifier)}
    for part in images.to(classifier.device).split(PART):
        seen = shifted(_restored(part) if permuted else part, pixels)
        ways = len(seen)
        if permuted:
            seen = [permute_pixels(one) for one in seen]
        inputs += int(sum((one != part).sum() for one in seen[1:])) / (ways - 1)
        add("input", torch.cat(seen) / 255)
        with watch(layers, lambda name, _, output: add(name, output)):
            logits = classifier.network(torch.cat(seen)).unflatten(0, (ways, -1))
        answers += float((logits[1:].argmax(2) == logits[0].argmax(1)).sum()) / (ways - 1)
    count = len(images)
    rows = Table()
    for name, values in total.items():
        # over all pairs of images, the mean square distance is twice the variance
        distance = 2 * (length[name] - float(values.square().sum()) / count) / max(count - 1, 1)
        relative = (change[name] / count / distance) ** 0.5 if distance > 0 else 0.0
        rows.append({"layer": name, "values": len(values), "change": relative})
    return rows, inputs / images.numel(), answers / count


def shifted(images: Tensor, pixels: int) -> list[Tensor]:
    """Return images (N, C, ...) and their shifts along each axis, either way; edges are repeated."""
    seen = [images]
    for axis in range(2, images.ndim):
        for by in (pixels, -pixels):
            index = (torch.arange(images.shape[axis], device=images.device) - by).clamp(0, images.shape[axis] - 1)
            seen.append(images.index_select(axis, index))
    return seen


def _restored(images: Tensor) -> Tensor:
    """Undo the permutation of pixels."""
    places = permute_pixels(torch.arange(images[0, 0].numel(), device=images.device).view(1, 1, *images.shape[2:]))
    return torch.empty_like(images).flatten(2).index_copy(2, places.flatten(), images.flatten(2)).view_as(images)
