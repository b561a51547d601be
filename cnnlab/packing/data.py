"""Batch the training examples of several runs at once, each in its own order and augmentation."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from cnnlab.data.augment import augmentation
from cnnlab.data.examples import Examples
from cnnlab.data.loader import Batches
from cnnlab.training.datamodule import DataModule


class PackData(DataModule):
    """Provide the batches of every member of a pack, from one copy of the data.

    Args:
        first: the loaded data module of the first member, whose tensors all members share.
        own: seed and augment config of each member.
    """

    def __init__(self, first: DataModule, own: Sequence[tuple[int, Mapping[str, Any] | None]]) -> None:
        super().__init__(first.config)
        self.__dict__.update(first.__dict__)
        self._own = own

    def train_dataloader(self) -> Any:
        """Return the concatenated batches of M members: inputs (M x n, ...) and labels (M x n,)."""
        first = super().train_dataloader()
        others = [first.like(seed, augmentation(augment or {})) for seed, augment in self._own[1:]]
        return JoinedBatches([first, *others])  # checkpoints hold the progress of the first, which is that of all


class JoinedBatches:
    """Iterate over several `Batches` of the same data at once, concatenating their batches."""

    def __init__(self, batches: Sequence[Batches]) -> None:
        self.batches = list(batches)

    def __len__(self) -> int:
        return len(self.batches[0])

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        first = self.batches[0]
        epoch = first.epoch()
        data = first.drawn(epoch)
        assert isinstance(data, Examples)
        orders = torch.stack([b.order(epoch, data) for b in self.batches])  # type: ignore[misc]
        for step in range(len(self)):
            first.given = step + 1
            index = torch.stack([first.share(step, order) for order in orders])  # type: ignore[misc]
            inputs = data.inputs[index]
            if any(b.augment for b in self.batches):
                each = zip(self.batches, inputs, orders, strict=True)
                inputs = torch.stack([b.augmented(own, epoch, step, order) for b, own, order in each])
            yield inputs.flatten(0, 1), data.labels[index].flatten()
