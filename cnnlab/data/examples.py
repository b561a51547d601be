"""Examples in memory, and the parts of a dataset."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from cnnlab.data.stream import Files


@dataclass
class Examples:
    """Inputs (N, ...), bytes, floats or ids of words as int64, and labels (N,) as int64."""

    inputs: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def part(self, index: Tensor) -> "Examples":
        """Those of these numbers."""
        return Examples(self.inputs[index], self.labels[index])

    def batches(self, indices: Iterable[Tensor | slice]) -> Iterator[tuple[Tensor, Tensor]]:
        """Inputs and labels for each index."""
        for index in indices:
            yield self.inputs[index], self.labels[index]

    def map(self, step: Callable[[Tensor], Tensor]) -> "Examples":
        """The same after one more step."""
        return Examples(step(self.inputs), self.labels)

    def to(self, device: torch.device) -> "Examples":
        """The same on a device."""
        return Examples(self.inputs.to(device), self.labels.to(device))


def in_memory(data: Examples | Files) -> Examples:
    """The same examples, those of files read."""
    return data if isinstance(data, Examples) else Examples(data.load(), data.labels)


@dataclass
class Splits:
    """What a source has. Without `val`, validation examples are split off `train`; without `test` nothing is tested.

    `draw(epoch)` gives fresh training examples each epoch, where a source has no end. `groups` (N,) are equal for
    training examples that are held out together or not at all; `remark` is a line to print before a training.
    """

    classes: list[str]
    train: Examples | Files
    test: Examples | None
    val: Examples | None = None
    draw: Callable[[int], Examples] | None = None
    groups: Tensor | None = None
    remark: str | None = None

    def map(self, step: Callable[[Tensor], Tensor]) -> "Splits":
        """The same after one more step on all inputs, those still to be drawn included."""
        drawn = self.draw
        return replace(
            self,
            train=self.train.map(step),
            test=self.test and self.test.map(step),
            val=self.val and self.val.map(step),
            draw=(lambda epoch: drawn(epoch).map(step)) if drawn else None,
        )
