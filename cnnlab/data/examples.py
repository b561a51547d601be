"""Examples in memory, and the splits of a dataset."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from cnnlab.data.stream import Files


@dataclass
class Examples:
    """Inputs (N, ...) as bytes, floats or word ids (int64), and labels (N,) as int64."""

    inputs: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def part(self, index: Tensor) -> "Examples":
        """Select the examples at these indices."""
        return Examples(self.inputs[index], self.labels[index])

    def batches(self, indices: Iterable[Tensor | slice]) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield inputs and labels for each index."""
        for index in indices:
            yield self.inputs[index], self.labels[index]

    def map(self, step: Callable[[Tensor], Tensor]) -> "Examples":
        """Apply a step to the inputs."""
        return Examples(step(self.inputs), self.labels)

    def to(self, device: torch.device) -> "Examples":
        """Move the examples to a device."""
        return Examples(self.inputs.to(device), self.labels.to(device))


def in_memory(data: Examples | Files) -> Examples:
    """Read the examples of files; return others as they are."""
    return data if isinstance(data, Examples) else Examples(data.load(), data.labels)


@dataclass
class Splits:
    """The splits of a dataset. Without `val`, validation examples are split off `train`; `test` may be missing.

    `draw(epoch)` gives fresh training examples for each epoch, where a source is endless. `groups` (N,) are equal for
    training examples that are held out together or not at all; `remark` is a line to print before training.
    """

    classes: list[str]
    train: Examples | Files
    test: Examples | None
    val: Examples | None = None
    draw: Callable[[int], Examples] | None = None
    groups: Tensor | None = None
    remark: str | None = None

    def map(self, step: Callable[[Tensor], Tensor]) -> "Splits":
        """Apply a step to all inputs, those still to be drawn included."""
        drawn = self.draw
        return replace(
            self,
            train=self.train.map(step),
            test=self.test and self.test.map(step),
            val=self.val and self.val.map(step),
            draw=(lambda epoch: drawn(epoch).map(step)) if drawn else None,
        )
