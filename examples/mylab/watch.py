"""Add a looker, a callback and a logger; configs name them by `_target_`, which needs no `trusted_modules`."""

import json
from argparse import Namespace
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only

from cnnlab.inspection.look import Findings, Look
from cnnlab.training.classifier import Classifier
from cnnlab.training.datamodule import DataModule


class MeanImages(Look):
    """Show the mean of the validation images that are predicted as each class.

    Args:
        every_n_epochs: epochs between two looks.
        images: number of validation images, the first ones.
    """

    def __init__(self, every_n_epochs: int = 10, images: int = 100) -> None:
        super().__init__(every_n_epochs, images=images)
        self.images = images

    def look(self, classifier: Classifier, data: DataModule) -> Findings:
        """Return a picture for each class that is predicted at all."""
        images = data.val.inputs[: self.images]
        predicted = classifier.logits(images).argmax(1)
        means = {name: images[predicted == i].float().mean(0) / 255 for i, name in enumerate(classifier.classes)}
        return Findings({f"mean_images/{k}": v.expand(3, -1, -1) for k, v in means.items() if not torch.isnan(v).any()})


class StopAt(Callback):
    """Stop the training after the epoch whose validation accuracy reaches `accuracy`."""

    def __init__(self, accuracy: float = 0.99) -> None:
        self.accuracy = accuracy

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Ask the trainer to stop if the accuracy is reached."""
        trainer.should_stop |= float(trainer.callback_metrics["val/acc"]) >= self.accuracy


class JsonLines(Logger):
    """Write all logged metrics to `metrics.jsonl` in the run directory, a line for each step."""

    def __init__(self, save_dir: str | Path) -> None:
        super().__init__()
        self.path = Path(save_dir) / "metrics.jsonl"

    @property
    def name(self) -> str:
        """Return the logger's name for Lightning."""
        return "jsonl"

    @property
    def version(self) -> str:
        """Return an empty version, as a run directory holds one run."""
        return ""

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Add a line."""
        with self.path.open("a") as file:
            file.write(json.dumps({"step": step, **metrics}) + "\n")

    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """Write nothing: `.hydra/config.yaml` has them."""
