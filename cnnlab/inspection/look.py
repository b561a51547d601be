"""What all lookers share: they look at a classifier and its validation images, and TensorBoard gets what they find."""

from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from torch import Tensor

from cnnlab.inspection.plates import Plate
from cnnlab.training.classifier import Classifier
from cnnlab.training.datamodule import DataModule

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


# before the tags of lookers' scalars: TensorBoard shows groups by alphabet, and those of losses are to come first
BEHIND = "within "


@dataclass
class Findings:
    """What a look found, by tag; pictures are (3, H, W) from 0 to 1, all else as TensorBoard takes it.

    The last two are for the page of `inspect` alone. A looker that has plates shows them in place of its pictures. A
    note, which is a sentence, stands in place of the text or the scalar of its tag; an empty one hides it.
    """

    pictures: dict[str, Tensor] = field(default_factory=dict)
    scalars: dict[str, float] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)
    histograms: dict[str, Tensor] = field(default_factory=dict)
    pr_curves: dict[str, tuple[Tensor, Tensor]] = field(default_factory=dict)  # is it the class, probability
    embeddings: dict[str, tuple[Tensor, list[str], Tensor]] = field(default_factory=dict)  # vectors, labels, images
    plates: dict[str, Plate] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)

    def write(self, writer: "SummaryWriter", step: int) -> None:
        """Write everything as TensorBoard events."""
        for tag, picture in self.pictures.items():
            writer.add_image(tag, picture, step)
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
    """Look after every `every_n_epochs` epochs and after the last, on the first process.

    To add a looker, write a class with a `look` of its own and name it in `conf/callbacks/inspect.yaml`.

    Args:
        every_n_epochs: epochs between looks; the last epoch is always looked at.
        counts: options of a looker that are whole numbers of at least 1.
    """

    needs: tuple[str, ...] = ()  # modules that take long to import, so not in the time of the fit

    def __init__(self, every_n_epochs: int = 10, **counts: int) -> None:
        for name, count in {"every_n_epochs": every_n_epochs, **counts}.items():
            if not isinstance(count, int) or count < 1:
                raise ValueError(f"{name} must be a whole number of at least 1, not {count}")
        self.every_n_epochs = every_n_epochs

    def look(self, classifier: "Classifier", data: "DataModule") -> Findings:
        """What there is to see; `data` has its validation images ready, and the network is in evaluation mode."""
        raise NotImplementedError

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Import what looking needs."""
        for module in self.needs:
            import_module(module)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Look, where it is time; Lightning has validated by now."""
        epoch = trainer.current_epoch + 1
        last = epoch == trainer.max_epochs or trainer.should_stop
        writers = [logger.experiment for logger in trainer.loggers if isinstance(logger, TensorBoardLogger)]
        if not trainer.is_global_zero or not writers or (epoch % self.every_n_epochs and not last):
            return
        findings = looked(self.look, pl_module, trainer.datamodule)  # type: ignore[attr-defined]
        for writer in writers:
            findings.write(writer, trainer.global_step)


def looked(look: Callable[[Any, Any], Findings], classifier: Any, data: Any) -> Findings:
    """Look with gradients on, in evaluation mode, in full precision, and leave everything as it was."""
    training = classifier.training
    with torch.inference_mode(False), torch.enable_grad(), torch.autocast(classifier.device.type, enabled=False):
        classifier.eval()
        findings = look(classifier, data)
    classifier.train(training)
    return findings


def layers_of(classifier: "Classifier") -> list[str]:
    """The names of a network's layers, in order."""
    return [row.name for row in classifier.network.table]


def as_input(images: Tensor, classifier: "Classifier") -> Tensor:
    """Bytes (N, C, H, W) as floats from 0 to 1 on the classifier's device, which gradients can reach."""
    return (images.to(classifier.device).float() / 255).clone().requires_grad_()
