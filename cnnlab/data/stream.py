"""Examples that do not fit in memory together: read when they are needed, by torch's DataLoader workers."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset


@dataclass
class Files(Dataset[tuple[Tensor, Tensor]]):
    """Files with labels, which a training takes as it takes Examples.

    Args:
        files: each holds an example.
        labels: (N,) as int64.
        read: gives the inputs (1, ...) of a file, or raises ValueError.
        workers: processes that read ahead.
        steps: what is done with inputs that were read, one after the other.
    """

    files: list[Path]
    labels: Tensor
    read: Callable[[Path], Tensor]
    workers: int
    steps: tuple[Callable[[Tensor], Tensor], ...] = ()

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """One input (...) and its label."""
        inputs = self.read(self.files[index])
        for step in self.steps:
            inputs = step(inputs)
        return inputs[0], self.labels[index]

    def part(self, index: Tensor) -> "Files":
        """Those of these numbers."""
        return replace(self, files=[self.files[i] for i in index.tolist()], labels=self.labels[index])

    def map(self, step: Callable[[Tensor], Tensor]) -> "Files":
        """The same with one more step, done when they are read."""
        return replace(self, steps=(*self.steps, step))

    def batches(self, indices: Iterable[Tensor | slice]) -> Iterator[tuple[Tensor, Tensor]]:
        """Inputs (n, ...) and labels (n,) for each index, in that order.

        Raises:
            ValueError: a file cannot be read.
        """
        everything = torch.arange(len(self))
        sampler: Any = (everything[index].tolist() for index in indices)
        try:
            yield from DataLoader(self, batch_sampler=sampler, num_workers=self.workers)
        except ValueError as error:  # of a worker: its traceback as text, the message last
            message = str(error).strip().splitlines()[-1].removeprefix("ValueError: ")
            # whose frames would keep the workers alive
            raise ValueError(message) from error.with_traceback(None)

    def load(self) -> Tensor:
        """All inputs (N, ...)."""
        return torch.cat([inputs for inputs, _ in self.batches(torch.arange(len(self)).split(64))])
