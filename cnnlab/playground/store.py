"""Store a network's tensors and pictures as one string of bytes, which the page reads (`readTensors`)."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

SMALL = 1024  # values; tensors below it, and vectors, are stored as they are
LARGEST = 32767  # value of a 16-bit integer


class Store:
    """A growing string of bytes, with the positions of the tensors in it.

    Args:
        rounded: store large matrices and filters in 16 bits, with a factor for each row.
    """

    def __init__(self, rounded: bool) -> None:
        self.rounded, self.bytes, self.tensors = rounded, bytearray(), list[dict[str, Any]]()

    def tensor(self, values: Tensor) -> int:
        """Add a tensor; return its index."""
        values = values.detach().cpu()
        entry: dict[str, Any] = {"shape": list(values.shape)}
        if self.rounded and is_rounded(values):
            whole, factors = in_16_bits(values)
            entry |= {"stored": "int16", "factors": self.add(factors.numpy()), "start": self.add(whole.numpy())}
        else:
            entry |= {"stored": "float32", "start": self.add(values.float().contiguous().numpy())}
        self.tensors.append(entry)
        return len(self.tensors) - 1

    def join(self, other: "Store") -> list[dict[str, Any]]:
        """Append another store's bytes; return its tensors with their new positions."""
        shift = len(self.bytes)
        self.bytes += other.bytes
        places = ("start", "factors")
        return [{key: n + shift if key in places else n for key, n in entry.items()} for entry in other.tensors]

    def add(self, values: "np.ndarray[Any, Any]") -> int:
        """Add an array; return its position, a multiple of 4."""
        start = len(self.bytes)
        self.bytes += values.tobytes()
        self.bytes += bytes(-len(self.bytes) % 4)
        return start


def is_rounded(values: Tensor) -> bool:
    """Return whether a rounding store keeps a tensor in 16 bits."""
    return values.ndim > 1 and values.numel() >= SMALL


def in_16_bits(values: Tensor) -> tuple[Tensor, Tensor]:
    """Quantise a tensor to integers of its shape and a factor for each row.

    Eight times as accurate as 16-bit floats for normally distributed weights: a float spends five of its bits on an
    exponent that differs little within a filter.
    """
    factors = values.flatten(1).double().abs().amax(1).clamp(min=1e-30) / LARGEST
    whole = (values.double() / factors.view(-1, *[1] * (values.ndim - 1))).round()
    return whole.to(torch.int16), factors.float()


def rounded(values: Tensor) -> Tensor:
    """Return a tensor after quantisation to 16 bits."""
    whole, factors = in_16_bits(values)
    return (whole.float() * factors.view(-1, *[1] * (values.ndim - 1))).to(values.dtype)
