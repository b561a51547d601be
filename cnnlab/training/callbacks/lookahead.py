"""Reset the weights, every few steps, to their average over time."""

from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import WeightAveraging
from torch import Tensor

from cnnlab.training.lightning_internals import continue_from_average, last_averaged_step


class Lookahead(WeightAveraging):
    """Continue every `every` steps from the average of the weights so far: lookahead (Zhang et al. 2019).

    The share that the average keeps of itself grows with the cube of the training's progress, from 0 to `decay` (Balsam
    2023, hlb-CIFAR10; Jordan 2024), so that it does not slow down the start. The averages are validated, tested and
    saved, as with Lightning's EMAWeightAveraging.

    Args:
        every: steps between two resets to the average.
        decay: share of itself that the average keeps at the last reset.
    """

    def __init__(self, every: int = 5, decay: float = 0.774) -> None:
        if every < 1 or not 0 <= decay < 1:
            raise ValueError(f"every={every} must be at least 1 step, decay={decay} from 0 to below 1")
        super().__init__(avg_fn=self._average)
        self.every, self.decay = every, decay
        self._kept = 0.0

    def _average(self, slow: Tensor, fast: Tensor, count: Any) -> Tensor:
        return self._kept * slow + (1 - self._kept) * fast

    def should_update(self, step_idx: int | None = None, epoch_idx: int | None = None) -> bool:
        """Return whether the average is due: after every `every`-th step."""
        return step_idx is not None and (step_idx + 1) % self.every == 0

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Update the average, if due, and continue from it."""
        before = last_averaged_step(self)
        self._kept = self.decay * (trainer.global_step / trainer.estimated_stepping_batches) ** 3
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)
        if last_averaged_step(self) != before:
            continue_from_average(self, pl_module)
