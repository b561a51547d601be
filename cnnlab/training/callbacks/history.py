"""The record of a fit: its epochs' metrics, how long it took, how fast it was."""

from statistics import median
from time import perf_counter
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer


class History(Callback):
    """Keeps a row of metrics for every epoch, and logs the training throughput.

    `epochs` holds the rows, `seconds` the time of the fit with validation and without imports and test; `seen` examples
    of all processes have been trained on since `epoch_started`.
    """

    def __init__(self) -> None:
        self.epochs: list[dict[str, float]] = []
        self.seconds = 0.0
        self.seen = 0

    @property
    def images_per_second(self) -> float:
        """Of the median epoch, over all processes, validation left out."""
        return median(row["train/images_per_second"] for row in self.epochs) if self.epochs else 0.0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock."""
        self._started = perf_counter() - self.seconds
        self.on_train_epoch_start(trainer, pl_module)  # which Lightning leaves out where it goes on inside an epoch

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the epoch's clock."""
        self.epoch_started, self.seen = perf_counter(), 0

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count the examples, and stop the epoch's clock before validation begins."""
        self.seen += len(batch[1]) * trainer.world_size
        if trainer.is_last_batch:
            if pl_module.device.type == "cuda":
                torch.cuda.synchronize(pl_module.device)
            rate = self.seen / (perf_counter() - self.epoch_started)
            pl_module.log("train/images_per_second", rate, on_step=False, on_epoch=True, batch_size=1)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Add the epoch's row; Lightning has validated by now."""
        self.seconds = perf_counter() - self._started
        self.epochs.append(epoch_metrics(trainer))

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop the clock."""
        self.seconds = perf_counter() - self._started

    def state_dict(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {"epochs": self.epochs, "seconds": self.seconds}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """From a checkpoint."""
        self.epochs, self.seconds = state_dict["epochs"], state_dict["seconds"]


def epoch_metrics(trainer: Trainer) -> dict[str, float]:
    """What the epoch that ends was measured by; Lightning keeps an earlier validation where this epoch had none."""
    validated = (trainer.current_epoch + 1) % (trainer.check_val_every_n_epoch or 1) == 0
    known = {k: float(v) for k, v in trainer.callback_metrics.items() if "/" in k}
    return {k: v for k, v in known.items() if validated or not k.startswith("val/")}
