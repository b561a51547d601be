"""Show the vectors that the last layer reads: in TensorBoard's projector and by principal components."""

from statistics import median
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from cnnlab.inspection.look import Findings, Look
from cnnlab.inspection.pictures import figure
from cnnlab.inspection.sentences import sentence
from cnnlab.models.hooks import watch
from cnnlab.models.table import class_layer
from cnnlab.training.classifier import Classifier
from cnnlab.training.datamodule import DataModule

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NAMED = 20  # classes up to which their names are drawn


class Embeddings(Look):
    """Show the vectors that the classifier reads with labels and pictures, and their first two principal components.

    Where the classifier is a convolution, the maps it reads are averaged over all positions.

    Args:
        images: number of validation images, the first ones.
    """

    needs = ("matplotlib.figure", "matplotlib.backends.backend_agg")

    def __init__(self, every_n_epochs: int = 10, images: int = 500) -> None:
        super().__init__(every_n_epochs, images=images)
        self.images = images

    def look(self, classifier: Classifier, data: DataModule) -> Findings:
        """Return the embedding; a network of a single layer embeds the image itself."""
        images, labels = data.val.inputs[: self.images], data.val.labels[: self.images]
        vectors: list[Tensor] = []
        name = class_layer(classifier.network.table)
        last = {name: classifier.network.get_submodule(name)}
        convolutional = any(isinstance(part, (nn.Conv1d, nn.Conv2d)) for part in last[name].modules())

        def keep(name: str, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            read = inputs[0].detach()
            vectors.append(read.flatten(2).mean(2) if convolutional else read.flatten(1))

        with watch(last, keep):
            classifier.walk(images)
        embedded = torch.cat(vectors).float().cpu()
        names = [classifier.classes[i] for i in labels.tolist()]
        found = Findings()
        pictures = images.cpu().float() / 255 if images.ndim == 4 else None
        if words := classifier.facts.vocabulary:
            named = [f"{name}: {sentence(ids, words)}" for name, ids in zip(names, images, strict=True)]
        found.embeddings["embeddings"] = (embedded, named if words else names, pictures)
        says = (
            f"Each dot is one of {len(labels)} validation examples: the {embedded.shape[1]:,} values that {name} reads "
            "of it, along the two directions in which they differ most. Classes that lie apart here are easy to tell "
            "apart; those that overlap may still lie apart in the other directions."
        )
        drawn = components_figure(embedded, labels, classifier.classes)
        found.draw("embeddings/principal components", "What the classifier reads", says, drawn)
        return found


def components_figure(vectors: Tensor, labels: Tensor, classes: list[str]) -> "Figure":
    """Draw the first two principal components, a colour for each class, with its name at its median."""
    centred = vectors - vectors.mean(0)
    _, _, directions = torch.linalg.svd(centred, full_matrices=False)
    points = centred @ directions[:2].T
    drawn = figure(5.5, 4.5)
    axes = drawn.add_subplot()
    for index in labels.unique().tolist():
        x, y = points[labels == index].T.tolist()
        axes.scatter(x, y, s=8, label=classes[index], color=f"C{index % 10}", alpha=0.8, linewidths=0)
        if len(classes) <= NAMED:
            box = {"facecolor": "white", "edgecolor": f"C{index % 10}", "alpha": 0.85, "boxstyle": "round,pad=0.2"}
            axes.text(median(x), median(y), classes[index], ha="center", va="center", fontsize=8, bbox=box)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set(xlabel="first principal component", ylabel="second principal component")
    return drawn
