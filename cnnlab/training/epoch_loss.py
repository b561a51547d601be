"""Accumulate the losses of an epoch's steps, for their mean over its examples."""

from collections.abc import Sequence

import torch
from torch import Tensor


class EpochLoss:
    """Keep the mean loss and the number of examples of each step of one process."""

    def __init__(self) -> None:
        self._losses: list[Tensor] = []
        self._counts: list[int] = []

    def add(self, losses: Sequence[Tensor], counts: Sequence[int]) -> None:
        """Add the mean losses of steps, and the number of examples of each."""
        self._losses.extend(losses)
        self._counts.extend(counts)

    def total(self) -> Tensor:
        """Return the sum of the losses of the epoch's examples and their number, (2,), and start anew."""
        losses = torch.stack(self._losses)
        counts = torch.tensor(self._counts, device=losses.device)
        self._losses.clear()
        self._counts.clear()
        return torch.stack([(losses * counts).sum(), counts.sum().to(losses.dtype)])

    def saved(self) -> Tensor:
        """Return losses and numbers of examples, (2, steps), for a checkpoint inside an epoch."""
        losses = torch.stack(self._losses).cpu() if self._losses else torch.zeros(0)
        return torch.stack([losses.double(), torch.tensor(self._counts, dtype=torch.float64)])

    def restore(self, saved: Tensor, device: torch.device) -> None:
        """Restore losses and numbers of examples from a tensor of `saved`."""
        losses, counts = saved
        self._losses = list(losses.to(device, torch.get_default_dtype()).unbind())
        self._counts = counts.long().tolist()
