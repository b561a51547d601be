"""Record a fit: the metrics of each epoch, duration and throughput."""

from statistics import median
from time import perf_counter
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer


class History(Callback):
    """Keep a row of metrics for every epoch, and log the training throughput.

    `epochs` holds the rows, `seconds` the duration of the fit, validation included, imports and test not; `seen` is the
    number of examples that all processes have trained on since `epoch_started`.
    """

    def __init__(self) -> None:
        self.epochs: list[dict[str, float]] = []
        self.seconds = 0.0
        self.seen = 0

    @property
    def images_per_second(self) -> float:
        """Return the throughput of the median epoch over all processes, validation left out."""
        return median(row["train/images_per_second"] for row in self.epochs) if self.epochs else 0.0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock."""
        self._started = perf_counter() - self.seconds
        self.on_train_epoch_start(trainer, pl_module)  # Lightning skips it when it resumes inside an epoch

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
        """Return the record for a checkpoint."""
        return {"epochs": self.epochs, "seconds": self.seconds}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the record from a checkpoint."""
        self.epochs, self.seconds = state_dict["epochs"], state_dict["seconds"]


def epoch_metrics(trainer: Trainer) -> dict[str, float]:
    """Return the metrics of the epoch that ends, without those of an earlier validation, which Lightning keeps."""
    validated = (trainer.current_epoch + 1) % (trainer.check_val_every_n_epoch or 1) == 0
    known = {k: float(v) for k, v in trainer.callback_metrics.items() if "/" in k}
    return {k: v for k, v in known.items() if validated or not k.startswith("val/")}
