"""What the network gets wrong, and how sure it is of it."""

from collections.abc import Sequence

import torch
from torch import Tensor

from cnnlab.data.forms import Scale
from cnnlab.inspection.look import Findings, Look
from cnnlab.inspection.pictures import figure, gallery, picture, scales_of
from cnnlab.inspection.sentences import sentence
from cnnlab.training.classifier import Classifier
from cnnlab.training.datamodule import DataModule

BINS = 15  # of the calibration curve
NAMED = 20  # classes that a matrix still names


class Mistakes(Look):
    """Show confusion matrix, accuracy by class, PR curves, calibration and its expected error, most confident errors.

    Args:
        errors: number of errors shown as pictures.
    """

    needs = ("matplotlib.figure", "matplotlib.backends.backend_agg", "sklearn.metrics", "torchmetrics.functional")

    def __init__(self, every_n_epochs: int = 10, errors: int = 18) -> None:
        super().__init__(every_n_epochs, errors=errors)
        self.errors = errors

    def look(self, classifier: Classifier, data: DataModule) -> Findings:
        """All of it, on the validation images."""
        assert data.val is not None
        images, labels = data.val.inputs, data.val.labels
        logits, words = classifier.logits(images), classifier.facts.vocabulary
        return mistakes(logits, images, labels, classifier.classes, self.errors, words, scales_of(data))


def mistakes(
    logits: Tensor,
    images: Tensor,
    labels: Tensor,
    classes: list[str],
    errors: int = 18,
    vocabulary: Sequence[str] = (),
    scales: Sequence[Scale | None] = (None, None),
) -> Findings:
    """The findings for logits (N, classes) of images (N, C, H, W), or other inputs, with labels (N,).

    Errors are shown as pictures, with scales of rows and columns; of examples that are none the words of the
    vocabulary, or values, are written.
    """
    from torchmetrics.functional.classification import multiclass_calibration_error, multiclass_confusion_matrix

    probabilities = logits.clone().softmax(1)
    confidence, guesses = probabilities.max(1)
    matrix = multiclass_confusion_matrix(guesses, labels, len(classes))
    found = Findings()
    found.pictures["mistakes/confusion"] = confusion_picture(matrix, classes)
    error = multiclass_calibration_error(probabilities, labels, len(classes), n_bins=BINS)
    found.scalars["mistakes/ece"] = float(error)
    found.pictures["mistakes/calibration"] = calibration_picture(confidence, guesses == labels, float(error))
    present = matrix.sum(1)
    for index, name in enumerate(classes):
        if present[index]:
            found.scalars[f"mistakes/accuracy/{name}"] = float(matrix[index, index] / present[index])
            found.pr_curves[f"mistakes/pr/{name}"] = (labels == index, probabilities[:, index])
    found.pictures["mistakes/precision and recall"] = pr_picture(probabilities, labels, classes)
    wrong = (guesses != labels).nonzero().flatten()
    worst = wrong[confidence[wrong].argsort(descending=True)][:errors]
    captions = [f"{classes[labels[i]]}, not {classes[guesses[i]]}\n{confidence[i]:.3f}" for i in worst.tolist()]
    if images.ndim == 4 and len(worst):
        found.pictures["mistakes/most confident"] = gallery(images[worst].cpu().float() / 255, captions, scales=scales)
        return found
    for rank, (i, caption) in enumerate(zip(worst.tolist(), captions, strict=True), 1):
        values = ", ".join(f"{value:.3g}" for value in images[i].flatten()[:8].tolist())
        example = sentence(images[i], vocabulary) if vocabulary else f"({values})"
        found.texts[f"mistakes/most confident/{rank}"] = f"{' '.join(caption.split())}: {example}"
    return found


def confusion_picture(matrix: Tensor, classes: list[str]) -> Tensor:
    """Rows are what an image is, columns what it was taken for; shaded by share of the row."""
    count = len(classes)
    drawn = figure(max(5.0, 0.45 * min(count, NAMED) + 2), max(4.5, 0.42 * min(count, NAMED) + 1.5))
    axes = drawn.add_subplot()
    axes.imshow((matrix / matrix.sum(1, keepdim=True).clamp(min=1)).numpy(), cmap="Blues", vmin=0, vmax=1)
    axes.set_xlabel("taken for")
    axes.set_ylabel("is")
    if count <= NAMED:
        axes.set_xticks(range(count), classes, rotation=90)
        axes.set_yticks(range(count), classes)
        for row in range(count):
            for column in range(count):
                if n := int(matrix[row, column]):
                    colour = "white" if n > matrix[row].sum() / 2 else "black"
                    axes.text(column, row, str(n), ha="center", va="center", fontsize=7, color=colour)
    return picture(drawn)


def calibration_picture(confidence: Tensor, right: Tensor, error: float) -> Tensor:
    """How often the network is right when it is so sure (Guo et al. 2017), and how often it is."""
    bins = (confidence * BINS).long().clamp(max=BINS - 1)
    count = torch.bincount(bins, minlength=BINS)
    hits = torch.bincount(bins[right], minlength=BINS)
    drawn = figure(4.5, 4.5)
    axes = drawn.add_subplot()
    centres = (torch.arange(BINS) + 0.5) / BINS
    full = count > 0
    axes.bar(centres[full].numpy(), (hits[full] / count[full]).numpy(), width=1 / BINS, edgecolor="white")
    axes.plot([0, 1], [0, 1], color="grey", linestyle="--")
    axes.plot(centres.numpy(), (count / count.sum()).numpy(), color="black", marker=".", label="share of images")
    axes.set(
        xlim=(0, 1),
        ylim=(0, 1),
        xlabel="confidence",
        ylabel="accuracy",
        title=f"expected calibration error {error:.3f}",
    )
    axes.legend(fontsize=7)
    return picture(drawn)


def pr_picture(probabilities: Tensor, labels: Tensor, classes: list[str]) -> Tensor:
    """Precision against recall, a curve for each class."""
    from sklearn.metrics import PrecisionRecallDisplay

    drawn = figure(5.5, 4.5)
    axes = drawn.add_subplot()
    for index, name in enumerate(classes[:NAMED]):
        if (labels == index).any():
            truth = (labels == index).numpy()
            PrecisionRecallDisplay.from_predictions(truth, probabilities[:, index].numpy(), name=name, ax=axes)
    axes.set(xlabel="recall", ylabel="precision", xlim=(0, 1.01), ylim=(0, 1.01))
    axes.legend(fontsize=6, loc="lower left")
    return picture(drawn)
