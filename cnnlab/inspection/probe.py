"""Probe how well a linear classifier can read the classes from each layer."""

from collections import defaultdict
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from cnnlab.data.examples import Examples, in_memory
from cnnlab.data.forms import Facts
from cnnlab.data.stream import Files
from cnnlab.inspection.bars import bars
from cnnlab.inspection.look import Findings, Look, layers_of
from cnnlab.models.hooks import watch
from cnnlab.reporting.tables import Table, show
from cnnlab.training.classifier import Classifier
from cnnlab.training.datamodule import DataModule

DECAY = 0.01  # weight decay of a linear classifier on standardised inputs
STEPS = 50  # of L-BFGS, at most
FLAT = 1e-4  # gradient at which L-BFGS stops
ROOM = 2**26  # numbers in memory at once; layers are probed together as far as they fit
SAYS = (
    "A bar for each layer: how often a linear classifier is right that is trained on what the layer gives. The longer "
    "the bars grow on the way to the answer, the further the classes have come apart."
)


class Probe(Look):
    """Train a linear classifier on the values of each layer, and test it (Alain & Bengio 2016, arXiv:1610.01644).

    It is multinomial logistic regression on training images, scored on validation images: how far the classes have
    come apart, layer by layer. The network stays as it is.

    Args:
        images: number of training images, and of validation images, drawn at random.
        values: number of a layer's values that are read at most; of larger layers a random selection.
    """

    needs = ("matplotlib.figure", "matplotlib.backends.backend_agg")

    def __init__(self, every_n_epochs: int = 10, images: int = 1000, values: int = 1024) -> None:
        super().__init__(every_n_epochs, images=images, values=values)
        self.images, self.values = images, values

    def misfit(self, facts: Facts) -> str | None:
        """Look at numeric inputs, not at words."""
        return "inputs that are no words" if facts.vocabulary else None

    def look(self, classifier: Classifier, data: DataModule) -> Findings:
        """Return the accuracies as bars and scalars, and a sentence."""
        train, val = some(data.train, self.images), some(data.val, self.images)
        rows = probes(classifier, train, val, self.values)
        own = float((classifier.logits(val.inputs).argmax(1) == val.labels.cpu()).float().mean())
        accuracies = {row["layer"]: row["accuracy"] for row in rows}
        _, *hidden, last = accuracies
        best = max(hidden or [last], key=lambda name: accuracies[name])
        found = Findings()
        found.texts["probe"] = (
            f"A linear classifier, trained on {show(len(train))} images, is right about {accuracies['input']:.1%} of "
            f"{show(len(val))} validation images from the inputs alone, and about {accuracies[best]:.1%} from {best}, "
            f"the best layer to read the classes from; the network itself about {own:.1%}."
        )
        found.scalars = {f"probe/{name}": accuracy for name, accuracy in accuracies.items()}
        label = "validation accuracy of a linear classifier, %"
        drawn = bars(accuracies, label, ("the network", own))
        found.draw("probe/accuracies", "Linear classifiers of each layer", SAYS, drawn)
        found.notes = dict.fromkeys(found.scalars, "")  # the bars show them
        return found


def some(data: Examples | Files, count: int) -> Examples:
    """Draw `count` examples of a set, or all, at random with a fixed seed."""
    chosen = torch.randperm(len(data), generator=torch.Generator().manual_seed(0))[:count]
    return in_memory(data.part(chosen.to(data.labels.device)))


def probes(classifier: Classifier, train: Examples, val: Examples, most: int = 1024) -> Table:
    """Return a row for each layer, `input` first: `layer`, `values`, `accuracy` of a linear classifier on `val`.

    The classifier is in evaluation mode; each layer is probed on at most `most` values, chosen at random.
    """
    device, classes = classifier.device, len(classifier.classes)
    labels, truth = train.labels.to(device), val.labels.to(device)
    rows, names = Table(), ["input", *layers_of(classifier)]
    group_size = max(1, ROOM // (most * (len(train) + len(val))))
    for start in range(0, len(names), group_size):
        group = names[start : start + group_size]
        train_values, val_values = (values_of(classifier, group, part.inputs, most) for part in (train, val))
        for name in group:
            mean, std = train_values[name].mean(0), train_values[name].std(0)
            std = torch.where(std > 1e-6 * std.max(), std, 1)
            weight, bias = logistic_regression((train_values[name] - mean) / std, labels, classes)
            hits = F.linear((val_values[name] - mean) / std, weight, bias).argmax(1) == truth
            count = classifier.network.shapes[name]
            rows.append({"layer": name, "values": torch.Size(count).numel(), "accuracy": float(hits.float().mean())})
    return rows


def values_of(classifier: Classifier, names: Sequence[str], images: Tensor, most: int) -> dict[str, Tensor]:
    """Return the outputs of layers for images (N, C, H, W): all (N, values), or (N, most) chosen at random."""
    found = defaultdict[str, list[Tensor]](list)
    indices = {
        name: torch.randperm(torch.Size(shape).numel(), generator=torch.Generator().manual_seed(0))[:most].sort().values
        for name, shape in classifier.network.shapes.items()
        if name in names
    }

    def keep(name: str, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        found[name].append(output.flatten(1)[:, indices[name].to(output.device)].float())

    with watch({name: classifier.network.get_submodule(name) for name in names}, keep):
        classifier.walk(images)
    return {name: torch.cat(found[name]) for name in names}


def logistic_regression(inputs: Tensor, labels: Tensor, classes: int) -> tuple[Tensor, Tensor]:
    """Fit multinomial logistic regression with weight decay by L-BFGS: weights (classes, values) and biases."""
    weight, bias = inputs.new_zeros(classes, inputs.shape[1]), inputs.new_zeros(classes)
    params = [weight.requires_grad_(), bias.requires_grad_()]
    optimizer = torch.optim.LBFGS(params, max_iter=STEPS, tolerance_grad=FLAT, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = F.cross_entropy(F.linear(inputs, weight, bias), labels) + DECAY / 2 * weight.square().sum()
        value.backward()
        return value

    optimizer.step(loss)
    return weight.detach(), bias.detach()
