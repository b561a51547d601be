"""The losses of an epoch's steps so far, for their mean over all its images."""

from collections.abc import Sequence

import torch
from torch import Tensor


class EpochLoss:
    """Keeps the mean loss of each step of one process, and over how many images it is."""

    def __init__(self) -> None:
        self._losses: list[Tensor] = []
        self._images: list[int] = []

    def add(self, losses: Sequence[Tensor], images: Sequence[int]) -> None:
        """Keep the mean losses of steps, and over how many images each is."""
        self._losses.extend(losses)
        self._images.extend(images)

    def total(self) -> Tensor:
        """Return the sum of the losses of all images since the epoch began, and their number; forget them."""
        losses = torch.stack(self._losses)
        images = torch.tensor(self._images, device=losses.device)
        self._losses.clear()
        self._images.clear()
        return torch.stack([(losses * images).sum(), images.sum().to(losses.dtype)])

    def saved(self) -> Tensor:
        """Return losses and numbers of images, (2, steps), for a checkpoint inside an epoch."""
        losses = torch.stack(self._losses).cpu() if self._losses else torch.zeros(0)
        return torch.stack([losses.double(), torch.tensor(self._images, dtype=torch.float64)])

    def take_up(self, saved: Tensor, device: torch.device) -> None:
        """Go on where a checkpoint was made."""
        losses, images = saved
        self._losses = list(losses.to(device, torch.get_default_dtype()).unbind())
        self._images = images.long().tolist()
