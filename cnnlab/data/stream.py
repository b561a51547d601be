"""Stream examples that do not fit in memory: torch's DataLoader workers read them when they are needed."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset


@dataclass
class Files(Dataset[tuple[Tensor, Tensor]]):
    """Files with labels, with the interface of Examples.

    Args:
        files: one example each.
        labels: (N,) as int64.
        read: returns the inputs (1, ...) of a file; raises ValueError.
        workers: processes that read ahead.
        steps: functions that are applied to inputs in order, after reading.
    """

    files: list[Path]
    labels: Tensor
    read: Callable[[Path], Tensor]
    workers: int
    steps: tuple[Callable[[Tensor], Tensor], ...] = ()

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """Return one input (...) and its label."""
        inputs = self.read(self.files[index])
        for step in self.steps:
            inputs = step(inputs)
        return inputs[0], self.labels[index]

    def part(self, index: Tensor) -> "Files":
        """Select the files at these indices."""
        return replace(self, files=[self.files[i] for i in index.tolist()], labels=self.labels[index])

    def map(self, step: Callable[[Tensor], Tensor]) -> "Files":
        """Return the files with one more step, applied when they are read."""
        return replace(self, steps=(*self.steps, step))

    def batches(self, indices: Iterable[Tensor | slice]) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield inputs (n, ...) and labels (n,) for each index, in order.

        Raises:
            ValueError: a file cannot be read.
        """
        everything = torch.arange(len(self))
        sampler: Any = (everything[index].tolist() for index in indices)
        try:
            yield from DataLoader(self, batch_sampler=sampler, num_workers=self.workers)
        except ValueError as error:  # from a worker: its traceback as text, with the message last
            message = str(error).strip().splitlines()[-1].removeprefix("ValueError: ")
            raise ValueError(message) from error.with_traceback(None)  # its frames would keep the workers alive

    def load(self) -> Tensor:
        """Read all inputs (N, ...)."""
        return torch.cat([inputs for inputs, _ in self.batches(torch.arange(len(self)).split(64))])
