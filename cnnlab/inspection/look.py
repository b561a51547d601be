"""Define lookers, which inspect a classifier on its validation examples, and their findings."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from torch import Tensor

from cnnlab.data.forms import Facts, as_floats
from cnnlab.inspection.pictures import picture
from cnnlab.inspection.plates import Drawing, Plate
from cnnlab.training.classifier import Classifier
from cnnlab.training.datamodule import DataModule

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from torch.utils.tensorboard import SummaryWriter


# prefix of lookers' scalars: TensorBoard sorts groups by name, and losses should come first
BEHIND = "within "


@dataclass
class Findings:
    """Findings of a look, by tag; pictures are (3, H, W) from 0 to 1, all else as TensorBoard takes it.

    Plates and notes are for the page of `inspect` only. Plates replace the pictures of their looker. A note, which is a
    sentence, replaces the text or the scalar of its tag; an empty one hides it.
    """

    pictures: dict[str, Tensor] = field(default_factory=dict)
    scalars: dict[str, float] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)
    histograms: dict[str, Tensor] = field(default_factory=dict)
    pr_curves: dict[str, tuple[Tensor, Tensor]] = field(default_factory=dict)  # is it the class, probability
    # vectors, labels, and images where examples are pictures
    embeddings: dict[str, tuple[Tensor, list[str], Tensor | None]] = field(default_factory=dict)
    plates: dict[str, Plate] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)

    def draw(self, tag: str, title: str, says: str, figure: "Figure") -> None:
        """Add a figure, to the page as a drawing and to TensorBoard as a picture."""
        self.pictures[tag] = picture(figure)
        self.plates[tag] = Drawing(title, says, figure)

    def write(self, writer: "SummaryWriter", step: int) -> None:
        """Write everything as TensorBoard events."""
        for tag, image in self.pictures.items():
            writer.add_image(tag, image, step)
        for tag, value in self.scalars.items():
            writer.add_scalar(BEHIND + tag, value, step)
        for tag, text in self.texts.items():
            writer.add_text(tag, text, step)
        for tag, values in self.histograms.items():
            writer.add_histogram(tag, values, step)
        for tag, (labels, probabilities) in self.pr_curves.items():
            writer.add_pr_curve(tag, labels, probabilities, step)
        for tag, (vectors, names, images) in self.embeddings.items():
            writer.add_embedding(vectors, names, images, step, tag)


class Look(Callback):
    """Look at a classifier after every `every_n_epochs` epochs and after the last, on the first process.

    To add a looker, write a class with a `look` of its own and name it in `conf/callbacks/inspect.yaml`.

    Args:
        every_n_epochs: epochs between looks; the last epoch is always looked at.
        counts: options of a looker that are whole numbers of at least 1.
    """

    needs: tuple[str, ...] = ()  # slow modules to import before training, to keep them out of its time

    def __init__(self, every_n_epochs: int = 10, **counts: int) -> None:
        for name, count in {"every_n_epochs": every_n_epochs, **counts}.items():
            if not isinstance(count, int) or count < 1:
                raise ValueError(f"{name} must be a whole number of at least 1, not {count}")
        self.every_n_epochs = every_n_epochs

    def look(self, classifier: Classifier, data: DataModule) -> Findings:
        """Return findings; `data` has its validation examples ready, and the network is in evaluation mode."""
        raise NotImplementedError

    def misfit(self, facts: Facts) -> str | None:
        """Return None if the looker can look at such examples, else a description of those it can look at."""
        return None if len(facts.shape) in (1, 3) else "pictures, sentences and points"

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Import the modules in `needs`, or report that the looker is left out."""
        if instead := self.misfit(pl_module.facts):  # type: ignore[arg-type]
            if stage == "fit" and trainer.is_global_zero:
                print(left_out(type(self).__name__, instead))
            return
        for module in self.needs:
            import_module(module)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Look if the epoch is due; Lightning has already validated."""
        epoch = trainer.current_epoch + 1
        last = epoch == trainer.max_epochs or trainer.should_stop
        if last or epoch % self.every_n_epochs == 0:
            self.report(trainer, pl_module)

    def report(self, trainer: Trainer, pl_module: LightningModule) -> Findings | None:
        """Look, and write the findings to TensorBoard; return them, on the first process only."""
        writers = [logger.experiment for logger in trainer.loggers if isinstance(logger, TensorBoardLogger)]
        if not trainer.is_global_zero or not writers or self.misfit(pl_module.facts):  # type: ignore[arg-type]
            return None
        findings = run_look(self.look, pl_module, trainer.datamodule)  # type: ignore[attr-defined]
        for writer in writers:
            findings.write(writer, trainer.global_step)
        return findings


def left_out(name: str, instead: str) -> str:
    """Return the message that a looker is left out."""
    return f"{name} left out: it looks at {instead}"


def fitting(lookers: Mapping[str, Look], facts: Facts) -> dict[str, Look]:
    """Return the lookers that can look at such examples; print the ones left out.

    Raises:
        ValueError: all of one or more lookers are left out.
    """
    # a callable of a trusted module may be no `Look`
    checks = {name: look.misfit for name, look in lookers.items() if isinstance(look, Look)}
    misfits = {name: instead for name, misfit in checks.items() if (instead := misfit(facts))}
    if lookers and len(misfits) == len(lookers):
        raise ValueError("; ".join(left_out(f"callbacks.{name}", instead) for name, instead in misfits.items()))
    for name, instead in misfits.items():
        print(left_out(name, instead))
    return {name: look for name, look in lookers.items() if name not in misfits}


def run_look(look: Callable[[Any, Any], Findings], classifier: Any, data: Any) -> Findings:
    """Run a look with gradients on, in evaluation mode, in full precision; then restore the training mode."""
    training = classifier.training
    with torch.inference_mode(False), torch.enable_grad(), torch.autocast(classifier.device.type, enabled=False):
        classifier.eval()
        findings = look(classifier, data)
    classifier.train(training)
    return findings


def layers_of(classifier: Classifier) -> list[str]:
    """Return the names of a network's layers, in order."""
    return [row.name for row in classifier.network.table]


def as_input(inputs: Tensor, classifier: Classifier) -> Tensor:
    """Return inputs on the classifier's device: bytes as floats from 0 to 1, which require gradients, ids unchanged."""
    floats = as_floats(inputs.to(classifier.device))
    return floats.clone().requires_grad_() if floats.is_floating_point() else floats
