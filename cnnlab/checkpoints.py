"""Checkpoint files appear whole or not at all."""

import os
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import TorchCheckpointIO

SUFFIX = ".part"  # of a file that is being written


class WholeFiles(TorchCheckpointIO):
    """Writes to a file beside the target, flushes it to the disk, and renames it."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Save; the target stays as it was until the new file is complete.

        Raises:
            OSError: the disk is full, or cannot be written; names the file.
        """
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(f".{target.name}.{os.getpid()}{SUFFIX}")
        try:
            with part.open("wb") as file:
                torch.save(checkpoint, file)
                file.flush()
                os.fsync(file.fileno())
            part.replace(target)
        except (OSError, RuntimeError) as error:  # torch says RuntimeError where its writer fails
            part.unlink(missing_ok=True)
            cause = error.__context__ if isinstance(error, RuntimeError) and error.__context__ else error
            raise OSError(f"{target} cannot be written: {cause}") from error


def clear_parts(folder: Path) -> None:
    """Remove what a killed save left."""
    for part in folder.glob(f".*{SUFFIX}"):
        part.unlink(missing_ok=True)
