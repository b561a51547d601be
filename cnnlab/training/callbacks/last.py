"""Save the last checkpoint: after every epoch, every so many steps, and after SIGINT or SIGTERM."""

import signal
import threading
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint

from cnnlab.training.lightning_internals import stop_broadcasting_sigterm

SYNC_EVERY = 8  # steps after which processes tell each other whether one of them has received a signal


class LastCheckpoint(Checkpoint):
    """Keep `last.ckpt`, from which a run resumes as if it had never stopped.

    It is saved after every epoch and, unless `every_n_steps` is None, every so many steps.

    During training the first SIGINT or SIGTERM lets the step end, saves, and stops the fit in all processes with
    KeyboardInterrupt or SystemExit(143); a second one stops it at once.
    """

    def __init__(self, path: Path, every_n_steps: int | None) -> None:
        self.path, self.every_n_steps = path, every_n_steps
        self._received: int | None = None  # the signal
        self._handlers: dict[int, Any] = {}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Replace Lightning's signal handlers: its own for SIGTERM hangs if processes are in the middle of a step."""
        if threading.current_thread() is threading.main_thread():  # only it can handle signals in Python
            for number in (signal.SIGINT, signal.SIGTERM):
                self._handlers[number] = signal.signal(number, self._receive)
            # Lightning no longer receives signals, so its processes need not wait for each other at every step
            stop_broadcasting_sigterm(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Restore the earlier signal handlers."""
        while self._handlers:
            signal.signal(*self._handlers.popitem())

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Restore the earlier signal handlers."""
        self.on_train_end(trainer, pl_module)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self._received is not None:
            stop(number)
        self._received = number

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save if it is due or a signal came; all callbacks whose state the checkpoint holds must run before this."""
        received = self._received
        if trainer.world_size > 1:
            if trainer.global_step % SYNC_EVERY:
                received = None
            elif trainer.strategy.reduce_boolean_decision(received is not None, all=False):
                received = received or signal.SIGTERM
            else:
                received = None
        due = self.every_n_steps is not None and trainer.global_step % self.every_n_steps == 0
        if (due or received is not None) and not trainer.is_last_batch:  # after it, on_train_epoch_end saves
            trainer.save_checkpoint(self.path)
        if received is not None and not trainer.is_last_batch:
            stop(received)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save; the epoch has been validated by now."""
        trainer.save_checkpoint(self.path)
        if self._received is not None and trainer.world_size == 1:
            stop(self._received)

    def state_dict(self) -> Mapping[str, Any]:  # type: ignore[override]
        """Return no state: the file is all that is kept."""
        return {}


def stop(number: int) -> None:
    """Raise KeyboardInterrupt for SIGINT, SystemExit(143) for SIGTERM."""
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    raise SystemExit(143)
