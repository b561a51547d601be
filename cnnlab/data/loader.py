"""Make batches by slicing tensors: a seeded order, a share for each process, no workers."""

import copy
from collections.abc import Callable, Iterator
from functools import reduce

import torch
from torch import Tensor

from cnnlab.data.examples import Examples
from cnnlab.data.stream import Files

TURN_KEY = -2  # in place of an epoch, the key of the random numbers in `_turns`
Augment = Callable[..., Tensor]  # of inputs, a generator, and each input's turn


class Batches:
    """Iterate over (inputs, labels) on a device; inputs are (n, ...), images (n, C, H, W) as bytes.

    Args:
        data: all examples, on the device, or files that are read batch by batch.
        batch_size: over all processes together; each gets its share of every batch.
        seed: of order and augmentation; None keeps the order of the data.
        augment: for training inputs; gets a generator that (seed, epoch, step, rank) decides, and each input's turn:
            the epoch plus 0 or 1, as the seed decides.
        draw: makes fresh examples for an epoch, where the source is endless.
        epoch: returns the number of the epoch that begins.
        rank, world_size: of this process, and the number of processes.

    With a seed, a last batch of fewer than two examples per process is left out: batch norm cannot average over one.
    """

    def __init__(
        self,
        data: Examples | Files,
        batch_size: int,
        *,
        seed: int | None = None,
        augment: Augment | None = None,
        draw: Callable[[int], Examples] | None = None,
        epoch: Callable[[], int] = lambda: 0,
        rank: int = 0,
        world_size: int = 1,
        device: torch.device | str = "cpu",
    ) -> None:
        self.device = torch.device(device)
        self.data, self.batch_size, self.seed, self.augment, self.draw = data, batch_size, seed, augment, draw
        self.epoch, self.rank, self.world_size = epoch, rank, world_size
        self.given = 0  # batches of the current pass so far
        self._turn: Tensor | None = None
        self._start = 0  # first step of the next pass, where it resumes an interrupted one

    def __len__(self) -> int:
        whole, rest = divmod(len(self.data), self.batch_size)
        return whole + (rest >= (1 if self.seed is None or not whole else 2 * self.world_size))

    def like(self, seed: int, augment: Augment | None) -> "Batches":
        """Return batches of the same examples with another order and augmentation."""
        other = copy.copy(self)
        other.seed, other.augment, other._turn = seed, augment, None
        return other

    def global_size(self, step: int) -> int:
        """Return the number of examples in a batch over all processes."""
        return min(self.batch_size, len(self.data) - step * self.batch_size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        epoch = self.epoch()
        data = self.drawn(epoch)
        order = self.order(epoch, data)
        steps, self._start = range(self._start, len(self)), 0
        for step, (inputs, labels) in zip(steps, data.batches(self.share(s, order) for s in steps), strict=True):
            self.given = step + 1
            inputs, labels = inputs.to(self.device), labels.to(self.device)
            yield self.augmented(inputs, epoch, step, order), labels

    def drawn(self, epoch: int) -> Examples | Files:
        """Return the examples of an epoch."""
        return self.draw(epoch).to(self.device) if self.draw and self.seed is not None else self.data

    def order(self, epoch: int, data: Examples | Files) -> Tensor | None:
        """Return the indices of the examples (N,) in the order of an epoch; None stands for their own order."""
        if self.seed is None:
            return None
        order = torch.randperm(len(data), generator=keyed(self.seed, epoch))
        return order.to(self.device) if isinstance(data, Examples) else order

    def augmented(self, inputs: Tensor, epoch: int, step: int, order: Tensor | None) -> Tensor:
        """Augment the inputs of a step."""
        if self.augment is None or self.seed is None:
            return inputs
        generator = keyed(self.seed, epoch, step, self.rank, device=self.device)
        return self.augment(inputs, generator, turn=self._turns()[self.share(step, order)] + epoch)

    def _turns(self) -> Tensor:
        """Return a random 0 or 1 for each example."""
        assert self.seed is not None
        if self._turn is None:
            generator = keyed(self.seed, TURN_KEY)
            self._turn = torch.randint(2, (len(self.data),), generator=generator, device="cpu").to(self.device)
        return self._turn

    def share(self, step: int, order: Tensor | None) -> Tensor | slice:
        """Return the indices of this process's examples in a batch, which is split as evenly as possible."""
        size, start = self.global_size(step), step * self.batch_size
        mine = slice(start + size * self.rank // self.world_size, start + size * (self.rank + 1) // self.world_size)
        return mine if order is None else order[mine]

    def state_dict(self) -> dict[str, int]:
        """Return the progress of the pass, for a checkpoint inside an epoch."""
        return {"given": self.given}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Resume the pass of a checkpoint; if that was finished, the next one starts anew."""
        self._start = state["given"] % len(self)


def keyed(*key: int, device: torch.device | str = "cpu") -> torch.Generator:
    """Return a generator whose random numbers the key alone decides."""
    return torch.Generator(device).manual_seed(seed_of(*key))


def seed_of(*key: int) -> int:
    """Combine numbers into one seed: distinct for seeds below 2^20 and epochs, steps, ranks that occur."""
    return reduce(lambda seed, part: (seed * 1_000_003 + part + 1) % 2**63, key, 0)
