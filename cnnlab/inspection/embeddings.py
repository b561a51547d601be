"""Where what the classifier reads puts the images, for TensorBoard's projector."""

import torch
from torch import Tensor, nn

from cnnlab.inspection.look import Findings, Look
from cnnlab.inspection.pictures import figure, picture
from cnnlab.models.hooks import watch
from cnnlab.models.table import class_layer
from cnnlab.training.classifier import Classifier
from cnnlab.training.datamodule import DataModule


class Embeddings(Look):
    """Show the vectors that the classifier reads with labels and pictures, and their first two principal components.

    A classifier that is a convolution reads maps: their mean over all positions is shown.

    Args:
        images: number of validation images, the first ones.
    """

    needs = ("matplotlib.figure", "matplotlib.backends.backend_agg")

    def __init__(self, every_n_epochs: int = 10, images: int = 500) -> None:
        super().__init__(every_n_epochs, images=images)
        self.images = images

    def look(self, classifier: Classifier, data: DataModule) -> Findings:
        """One embedding; a network that is nothing but a classifier embeds the image itself."""
        assert data.val is not None
        images, labels = data.val.inputs[: self.images], data.val.labels[: self.images]
        vectors: list[Tensor] = []
        name = class_layer(classifier.network.table)
        last = {name: classifier.network.get_submodule(name)}
        slides = any(isinstance(part, (nn.Conv1d, nn.Conv2d)) for part in last[name].modules())

        def keep(name: str, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            read = inputs[0].detach()
            vectors.append(read.flatten(2).mean(2) if slides else read.flatten(1))

        with watch(last, keep):
            classifier.walk(images)
        embedded = torch.cat(vectors).float().cpu()
        names = [classifier.classes[i] for i in labels.tolist()]
        found = Findings()
        pictures = images.cpu().float() / 255 if images.ndim == 4 else None
        found.embeddings["embeddings"] = (embedded, names, pictures)
        found.pictures["embeddings/principal components"] = components_picture(embedded, labels, classifier.classes)
        return found


def components_picture(vectors: Tensor, labels: Tensor, classes: list[str]) -> Tensor:
    """The first two principal components, a colour for each class."""
    centred = vectors - vectors.mean(0)
    _, _, axes_of_most = torch.linalg.svd(centred, full_matrices=False)
    points = centred @ axes_of_most[:2].T
    drawn = figure(5.5, 4.5)
    axes = drawn.add_subplot()
    for index in labels.unique().tolist():
        x, y = points[labels == index].T.numpy()
        axes.scatter(x, y, s=8, label=classes[index], color=f"C{index % 10}")
    if len(classes) <= 20:
        axes.legend(fontsize=6)
    axes.set(xlabel="first component", ylabel="second component")
    return picture(drawn)
