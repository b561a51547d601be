"""How much each layer changes when the image moves by a few pixels."""

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

PART = 50  # images that go through the network at once, with all that they are moved to
SAYS = (
    "A bar for each layer: how far its values move when the image does, as a share of how far they are from those of "
    "another image. At 0 the layer does not notice; at 100 % it might as well be another image."
)


class Shifts(Look):
    """Move images along each axis, either way, and say how many inputs, and how much each layer, changes.

    A layer's change is the distance between its values for an image and for the moved one, as a share of the distance
    between its values for two different images (root mean squares): 0 where it does not mind, 100 % where it might as
    well be another image.

    Args:
        images: number of validation images, the first ones.
        pixels: how far they are moved; the edge is repeated.
    """

    needs = ("matplotlib.figure", "matplotlib.backends.backend_agg")

    def __init__(self, every_n_epochs: int = 10, images: int = 200, pixels: int = 2) -> None:
        super().__init__(every_n_epochs, images=images, pixels=pixels)
        self.images, self.pixels = images, pixels

    def misfit(self, facts: Facts) -> str | None:
        """Look at pictures alone."""
        return None if len(facts.shape) == 3 else "pictures"

    def look(self, classifier: Classifier, data: DataModule) -> Findings:
        """The changes as bars and scalars, and a sentence."""
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
        found.notes = dict.fromkeys(found.scalars, "")  # the bars and the sentence say it
        return found


@torch.no_grad()
def shifts(classifier: Classifier, images: Tensor, pixels: int, permuted: bool = False) -> tuple[Table, float, float]:
    """Return a row for each layer (`layer`, `values`, `change`), the share of inputs that change, and of answers kept.

    The classifier is in evaluation mode, and takes images (N, C, H, W), bytes; where their pixels are `permuted`, the
    image is moved, not its permutation.
    """
    change, length = defaultdict[str, float](float), defaultdict[str, float](float)
    total: dict[str, Tensor] = {}
    inputs, answers, ways = 0.0, 0.0, 0

    def add(name: str, values: Tensor) -> None:
        """Add up distances from the first of each group, and what the variance over these is made of."""
        values = values.detach().flatten(1).unflatten(0, (ways, -1)).double()
        still = values[0]
        change[name] += float((values[1:] - still).square().sum()) / (ways - 1)
        length[name] += float(still.square().sum())
        total[name] = total.get(name, 0) + still.sum(0)

    layers = {name: classifier.network.get_submodule(name) for name in layers_of(classifier)}
    for part in images.to(classifier.device).split(PART):
        seen = moved(_restored(part) if permuted else part, pixels)
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
        apart = 2 * (length[name] - float(values.square().sum()) / count) / max(count - 1, 1)
        relative = (change[name] / count / apart) ** 0.5 if apart > 0 else 0.0
        rows.append({"layer": name, "values": len(values), "change": relative})
    return rows, inputs / images.numel(), answers / count


def moved(images: Tensor, pixels: int) -> list[Tensor]:
    """Images (N, C, ...) as they are, and moved along each of their axes, either way; edges are repeated."""
    seen = [images]
    for axis in range(2, images.ndim):
        for by in (pixels, -pixels):
            index = (torch.arange(images.shape[axis], device=images.device) - by).clamp(0, images.shape[axis] - 1)
            seen.append(images.index_select(axis, index))
    return seen


def _restored(images: Tensor) -> Tensor:
    """Images whose pixels were permuted, with these in their own places."""
    places = permute_pixels(torch.arange(images[0, 0].numel(), device=images.device).view(1, 1, *images.shape[2:]))
    return torch.empty_like(images).flatten(2).index_copy(2, places.flatten(), images.flatten(2)).view_as(images)
