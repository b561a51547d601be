"""Save small copies of the weights during training, so that one can watch the network learn."""

from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from cnnlab.runs.checkpoints import save_classifier

LARGEST = torch.finfo(torch.float16).max
ENDLESS = 10**6  # assumed number of steps of a training without an end


class Snapshots(Callback):
    """Save copies of the weights at steps that lie ever farther apart, the first before any training.

    Each is a file `snapshots/step_<number>.ckpt` in the run directory, with matrices and filters in half precision: two
    bytes for a parameter. The steps depend on the length of the training alone, so that a resumed run saves the same
    ones. The first process writes. Training that ends early leaves fewer.

    Args:
        count: largest number of copies.
    """

    def __init__(self, count: int = 20) -> None:
        if count < 2:
            raise ValueError(f"count={count} must be at least 2, the first and the last step")
        self.count = count
        self._due: frozenset[int] = frozenset()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save the initial weights."""
        self._due = steps_kept(int(min(trainer.estimated_stepping_batches, ENDLESS)), self.count)
        if trainer.global_step == 0:
            save_snapshot(trainer, pl_module)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save the weights if the step is due."""
        if trainer.global_step in self._due:
            save_snapshot(trainer, pl_module)


def steps_kept(total: int, count: int) -> frozenset[int]:
    """Return the steps after which weights are saved: 0, then a geometric series up to the last step.

    Rounded to whole steps, several of the first ones may coincide; there are then fewer.
    """
    ratios = [n / (count - 2) if count > 2 else 1.0 for n in range(count - 1)]
    return frozenset({0} | {round(total**ratio) for ratio in ratios})


def save_snapshot(trainer: Trainer, pl_module: LightningModule) -> None:
    """Save the weights of a step, in the first process only."""
    if trainer.is_global_zero:
        path = Path(trainer.default_root_dir) / "snapshots" / f"step_{trainer.global_step:08d}.ckpt"
        save_classifier(path, {k: halved(v) for k, v in pl_module.state_dict().items()}, dict(pl_module.hparams))


def halved(values: Tensor) -> Tensor:
    """Return a tensor on the CPU, in half precision if it holds floats and has two or more axes."""
    values = values.detach().cpu()
    if values.ndim > 1 and values.is_floating_point():
        return values.clamp(-LARGEST, LARGEST).half()
    return values.clone()
