"""Small copies of the weights over the training, so that one can watch the network learn."""

from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from cnnlab.runs.checkpoints import save_classifier

LARGEST = torch.finfo(torch.float16).max
ENDLESS = 10**6  # steps that a training without an end is taken to last


class Snapshots(Callback):
    """Keep copies of the weights at steps that lie ever farther apart, the first before any training.

    Each is a file `snapshots/step_<number>.ckpt` in the run directory, with matrices and filters in half precision: two
    bytes for a parameter. Which steps are kept depends on the length of the training alone, so that a resumed run keeps
    the same. The first process writes. Training that ends early leaves fewer.

    Args:
        count: copies, at most.
    """

    def __init__(self, count: int = 20) -> None:
        if count < 2:
            raise ValueError(f"count={count} must be at least 2, the first and the last step")
        self.count = count
        self._due: frozenset[int] = frozenset()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keep the weights that training starts from."""
        self._due = steps_kept(int(min(trainer.estimated_stepping_batches, ENDLESS)), self.count)
        if trainer.global_step == 0:
            keep(trainer, pl_module)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Keep those after a step that is due."""
        if trainer.global_step in self._due:
            keep(trainer, pl_module)


def steps_kept(total: int, count: int) -> frozenset[int]:
    """Return the steps after which weights are kept: 0, and others whose ratios are equal, the last one included.

    Steps are whole, so that of the first ones several may fall together; there are then fewer.
    """
    ratios = [n / (count - 2) if count > 2 else 1.0 for n in range(count - 1)]
    return frozenset({0} | {round(total**ratio) for ratio in ratios})


def keep(trainer: Trainer, pl_module: LightningModule) -> None:
    """Write the weights of a step, on the first process only."""
    if trainer.is_global_zero:
        path = Path(trainer.default_root_dir) / "snapshots" / f"step_{trainer.global_step:08d}.ckpt"
        save_classifier(path, {k: small(v) for k, v in pl_module.state_dict().items()}, dict(pl_module.hparams))


def small(values: Tensor) -> Tensor:
    """Return a tensor on the CPU, floats of two and more axes in half precision."""
    values = values.detach().cpu()
    halved = values.ndim > 1 and values.is_floating_point()
    return values.clamp(-LARGEST, LARGEST).half() if halved else values.clone()
