"""The last checkpoint: after every epoch, every so many steps, and when the run is asked to stop."""

import signal
import threading
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint

from cnnlab.training.lightning_internals import stop_broadcasting_sigterm

ASKED_EVERY = 8  # steps between which several processes ask each other whether one of them is to stop


class LastCheckpoint(Checkpoint):
    """Keeps `last.ckpt`, from which a run goes on as if it had never stopped.

    It is saved at the ends of epochs, and every so many steps inside one where that is not None.

    While it trains, the first SIGINT or SIGTERM waits for the end of the step, saves, and ends the fit with
    KeyboardInterrupt or SystemExit(143) in all processes; a second one ends it at once.
    """

    def __init__(self, path: Path, every_n_steps: int | None) -> None:
        self.path, self.every_n_steps = path, every_n_steps
        self._asked: int | None = None
        self._handlers: dict[int, Any] = {}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take over the signals from Lightning, whose own answer to SIGTERM hangs where processes are mid-step."""
        if threading.current_thread() is threading.main_thread():  # Python gives signals to no other
            for number in (signal.SIGINT, signal.SIGTERM):
                self._handlers[number] = signal.signal(number, self._ask)
            # nor need processes wait for each other at every step to learn of signals that no longer reach it
            stop_broadcasting_sigterm(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Restore the earlier signal handlers."""
        while self._handlers:
            signal.signal(*self._handlers.popitem())

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Restore the earlier signal handlers."""
        self.on_train_end(trainer, pl_module)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self._asked is not None:
            stop(number)
        self._asked = number

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save when it is time; all callbacks whose state is saved with the step come before this one."""
        asked = self._asked
        if trainer.world_size > 1:
            if trainer.global_step % ASKED_EVERY:
                asked = None
            elif trainer.strategy.reduce_boolean_decision(asked is not None, all=False):
                asked = asked or signal.SIGTERM
            else:
                asked = None
        due = self.every_n_steps is not None and trainer.global_step % self.every_n_steps == 0
        if (due or asked is not None) and not trainer.is_last_batch:  # the end of the epoch has its own
            trainer.save_checkpoint(self.path)
        if asked is not None and not trainer.is_last_batch:
            stop(asked)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save, validated."""
        trainer.save_checkpoint(self.path)
        if self._asked is not None and trainer.world_size == 1:
            stop(self._asked)

    def state_dict(self) -> Mapping[str, Any]:  # type: ignore[override]
        """Nothing: what it keeps is the file."""
        return {}


def stop(number: int) -> None:
    """End as a signal does."""
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    raise SystemExit(143)
