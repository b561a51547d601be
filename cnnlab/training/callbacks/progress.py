"""Show the progress of training: epoch, loss, accuracy, throughput and remaining time."""

from time import perf_counter
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ProgressBar
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from cnnlab.training.callbacks.history import History, epoch_metrics

REFRESH_SECONDS = 0.1


class TrainingProgress(ProgressBar):
    """Show one bar over all epochs on a terminal, and print a line for each epoch, unless `lines` is false.

    Progress and duration of an epoch are read from the history, which must come earlier among the callbacks.
    """

    def __init__(self, history: History, lines: bool) -> None:
        super().__init__()
        self._history, self._lines = history, lines
        self._console = Console()
        self._bar: Progress | None = None
        self._enabled = True

    def disable(self) -> None:
        """Show nothing; Lightning calls it in every process but the first."""
        self._enabled = False

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Show the bar."""
        self._refreshed = 0.0
        if not self._enabled or not self._console.is_terminal:
            return
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[live]}"),
            TimeRemainingColumn(),
            console=self._console,
            auto_refresh=False,  # its thread would take time from the training
            transient=True,
        )
        self._task = self._bar.add_task("epoch 1", total=trainer.estimated_stepping_batches, live="")
        self._bar.start()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Redraw the bar, at most ten times a second."""
        now = perf_counter()
        if self._bar is None or now - self._refreshed < REFRESH_SECONDS:
            return
        self._refreshed = now
        live = getattr(pl_module, "live", {})
        rate = self._history.seen / (now - self._history.epoch_started)
        text = (
            f"loss {live.get('train/loss_step', 0):.3f}  acc {live.get('train/acc_step', 0):.3f}  {rate:,.0f} images/s"
        )
        self._bar.update(
            self._task,
            description=f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}",
            completed=trainer.global_step,
            live=text,
        )
        self._bar.refresh()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Print the epoch's line."""
        if not self._enabled or not self._lines:
            return
        known = epoch_metrics(trainer)
        parts = [f"{name} {known[name]:.4f}" for name in ("train/loss", "val/loss", "val/acc") if name in known]
        if "train/images_per_second" in known:
            parts.append(f"{known['train/images_per_second']:,.0f} images/s")
        self._console.print(
            f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}  " + "  ".join(parts), highlight=False
        )

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Remove the bar."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Remove the bar before the error message is printed."""
        self.on_train_end(trainer, pl_module)
