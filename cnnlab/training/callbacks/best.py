"""Keep the best checkpoint: that of the epoch with the highest validation accuracy."""

from pathlib import Path

from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor

from cnnlab.training.lightning_internals import set_best


class BestCheckpoint(ModelCheckpoint):
    """Keep `best.ckpt` in a folder: of equally good epochs the latest, as ties are common with few images."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, "best", monitor="val/acc", mode="max", enable_version_counter=False)

    @property
    def state_key(self) -> str:
        """Return a constant: Lightning reads it at every hook, and ModelCheckpoint's is built from all options."""
        return "BestCheckpoint"

    def check_monitor_top_k(self, trainer: Trainer, current: Tensor | None = None) -> bool:
        """Return whether an accuracy is the best so far."""
        equal = current is not None and self.best_model_score is not None and bool(current == self.best_model_score)
        return equal or super().check_monitor_top_k(trainer, current)

    def takes(self, accuracy: float | None) -> bool:
        """Record an epoch's accuracy and return True if it is the best so far; the caller saves the checkpoint."""
        if accuracy is None or (self.best_model_score is not None and accuracy < self.best_model_score):
            return False
        set_best(self, Path(self.dirpath or "") / "best.ckpt", accuracy)
        return True
