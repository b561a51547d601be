"""Show the network's errors and its calibration."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from cnnlab.data.forms import Scale
from cnnlab.inspection.look import Findings, Look
from cnnlab.inspection.pictures import figure, gallery_figure, scales_of
from cnnlab.inspection.plates import Card, Pictures, Strip, Tile, percent
from cnnlab.inspection.sentences import sentence
from cnnlab.training.classifier import Classifier
from cnnlab.training.datamodule import DataModule

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BINS = 15  # of the calibration curve
NAMED = 20  # classes up to which their names are drawn
HARDEST = 5  # classes named as hardest
SHADE = "#1864ab"

CONFUSION = (
    "A row for what the {count} validation images show, a column for what the network takes them for. What is on the "
    "diagonal is right; the darker a cell, the larger its share of the row."
)
CALIBRATION = (
    "Bars: how often the network is right, for the validation images of which it is so sure, of {count}. On the dashed "
    "line it is right as often as it is sure; below it, it is too sure. On the average the two differ by {error} "
    "(expected calibration error). Black: the share of images."
)
PR = (
    "A curve for each class, over {count} validation images. The surer the network must be to find an image of the "
    "class, the fewer of them it finds (recall), and the fewer of those found are wrong (precision). The upper right "
    "corner is the best; both axes begin where the curves do. AP, the average precision, is the area below a curve."
)


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
        """Return all findings for the validation examples."""
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
    """Return findings for logits (N, classes) of images (N, C, H, W), or other inputs, with labels (N,).

    Errors are shown as pictures, with scales of rows and columns, or as words or values where inputs are no images.
    """
    from torchmetrics.functional.classification import multiclass_calibration_error, multiclass_confusion_matrix

    probabilities = logits.clone().softmax(1)
    confidence, predicted = probabilities.max(1)
    matrix = multiclass_confusion_matrix(predicted, labels, len(classes))
    found = Findings()
    error = float(multiclass_calibration_error(probabilities, labels, len(classes), n_bins=BINS))
    found.scalars["mistakes/ece"] = error
    present = matrix.sum(1)
    for index, name in enumerate(classes):
        if present[index]:
            found.scalars[f"mistakes/accuracy/{name}"] = float(matrix[index, index] / present[index])
            found.pr_curves[f"mistakes/pr/{name}"] = (labels == index, probabilities[:, index])
    found.notes = dict.fromkeys(found.scalars, "")  # the drawings show them
    wrong = (predicted != labels).nonzero().flatten()
    found.notes["mistakes/ece"] = summary(len(wrong), matrix, classes)
    on = {"count": f"{len(labels):,}", "error": percent(error)}
    for name, title, says, drawn in (
        ("confusion", "Confusion matrix", CONFUSION, confusion_figure(matrix, classes)),
        (
            "calibration",
            "How sure, and how often right",
            CALIBRATION,
            calibration_figure(confidence, predicted == labels),
        ),
        ("precision and recall", "Precision and recall", PR, pr_figure(probabilities, labels, classes)),
    ):
        found.draw(f"mistakes/{name}", title, says.format(**on), drawn)
    worst = wrong[confidence[wrong].argsort(descending=True)][:errors]
    named = [(classes[labels[i]], classes[predicted[i]], float(confidence[i])) for i in worst.tolist()]
    if images.ndim == 4 and len(worst):
        shown = images[worst].cpu().float() / 255
        drawn = gallery_figure(shown, [f"{a}, not {b}\n{p:.3f}" for a, b, p in named], scales)
        says = f"The {len(named)} of {len(wrong):,} wrong answers of which the network is surest, the surest first."
        if len(named) == len(wrong):
            says = "All wrong answers, the surest first."
        tiles = [Tile(i, f"{a}, taken for {b}, {percent(p)} sure") for i, (a, b, p) in zip(shown, named, strict=True)]
        title = "Wrong and sure of it"
        found.draw("mistakes/most confident", title, says, drawn)
        if not any(scales):
            found.plates["mistakes/most confident"] = Pictures(title, says, [Card("", [Strip("", tiles, wide=112)])])
        return found
    for rank, (i, (a, b, p)) in enumerate(zip(worst.tolist(), named, strict=True), 1):
        values = ", ".join(f"{value:.3g}" for value in images[i].flatten()[:8].tolist())
        example = sentence(images[i], vocabulary) if vocabulary else f"({values})"
        found.texts[f"mistakes/most confident/{rank}"] = f"{a}, taken for {b}, {percent(p)} sure: {example}"
    return found


def summary(wrong: int, matrix: Tensor, classes: list[str]) -> str:
    """State the validation accuracy, and the classes with the lowest."""
    count = int(matrix.sum())
    share = matrix.diagonal() / matrix.sum(1).clamp(min=1)
    hardest = [i for i in share.argsort().tolist() if matrix[i].sum() and share[i] < 1][:HARDEST]
    says = (
        f"Validation accuracy {percent(1 - wrong / count, 2)}: {wrong:,} of {count:,} validation images are taken for "
        "another class."
    )
    if hardest and len(classes) > 2:
        says += f" Hardest: {', '.join(f'{classes[i]} ({percent(share[i].item())} right)' for i in hardest)}."
    return says


def confusion_figure(matrix: Tensor, classes: list[str]) -> "Figure":
    """Draw the confusion matrix: rows are true classes, columns predicted ones; shaded by share of the row."""
    from matplotlib.colors import to_rgba

    count = len(classes)
    drawn = figure(max(5.0, 0.45 * min(count, NAMED) + 2), max(4.5, 0.42 * min(count, NAMED) + 1.5))
    axes = drawn.add_subplot()
    shares = matrix / matrix.sum(1, keepdim=True).clamp(min=1)
    cells = torch.tensor(to_rgba(SHADE)).expand(count, count, 4).clone()
    cells[..., 3] = shares.sqrt()  # makes rare errors visible
    axes.imshow(cells.numpy(), interpolation="nearest")
    axes.set_xlabel("taken for")
    axes.set_ylabel("shows")
    if count <= NAMED:
        axes.set_xticks(range(count), classes, rotation=90)
        axes.set_yticks(range(count), classes)
        for row in range(count):
            for column in range(count):
                if n := int(matrix[row, column]):
                    colour = "#fefefe" if shares[row, column] > 0.25 else "black"
                    axes.text(column, row, str(n), ha="center", va="center", fontsize=8, color=colour)
    return drawn


def calibration_figure(confidence: Tensor, right: Tensor) -> "Figure":
    """Draw accuracy by confidence (Guo et al. 2017), and the share of images at each confidence."""
    bins = (confidence * BINS).long().clamp(max=BINS - 1)
    count = torch.bincount(bins, minlength=BINS)
    hits = torch.bincount(bins[right], minlength=BINS)
    drawn = figure(5.5, 4.5)
    axes = drawn.add_subplot()
    centres = (torch.arange(BINS) + 0.5) / BINS
    full = count > 0
    axes.bar(centres[full].numpy(), (hits[full] / count[full]).numpy(), width=0.9 / BINS, color=SHADE, alpha=0.7)
    axes.plot([0, 1], [0, 1], color="grey", linestyle="--")
    axes.plot(centres.numpy(), (count / count.sum()).numpy(), color="black", marker=".", label="share of images")
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="how sure: probability of the answer", ylabel="how often right: accuracy")
    axes.legend(fontsize=8, frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    return drawn


def pr_figure(probabilities: Tensor, labels: Tensor, classes: list[str]) -> "Figure":
    """Draw precision against recall, a curve for each class; both axes begin where the curves do."""
    from sklearn.metrics import average_precision_score, precision_recall_curve

    drawn = figure(5.5, 4.5)
    axes = drawn.add_subplot()
    lowest = 1.0
    for index, name in enumerate(classes[:NAMED]):
        if (truth := (labels == index).numpy()).any():
            score = probabilities[:, index].numpy()
            precision, recall, _ = precision_recall_curve(truth, score, drop_intermediate=True)
            average = average_precision_score(truth, score)
            lowest = min(lowest, float(precision[recall > 0].min()) if average < 0.8 else float(average) - 0.15)
            axes.plot(recall, precision, drawstyle="steps-post", label=f"{name} (AP {average:.3f})", linewidth=1.2)
    axes.set(xlabel="recall", ylabel="precision", xlim=(max(0.0, lowest), 1.01), ylim=(max(0.0, lowest), 1.01))
    axes.legend(fontsize=7, loc="lower left", frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    return drawn
