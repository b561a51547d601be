"""Count the multiply-adds of a forward pass by formula."""

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode


def _convolution(output: Tensor, x: Tensor, weight: Tensor, *others: Any) -> int:
    """Count a convolution: each output value sums over a window of the maps of its group."""
    return output.numel() * math.prod(weight.shape[1:])


def _transposed(output: Tensor, x: Tensor, weight: Tensor, *others: Any) -> int:
    """Count a transposed convolution: each input value is spread over a window of the maps of its group."""
    return x.numel() * math.prod(weight.shape[1:])


def _product(output: Tensor, left: Tensor, *others: Any) -> int:
    """Count a matrix product: each output value sums over the last axis of the left factor."""
    return output.numel() * left.shape[-1]


def _attention(output: Tensor, query: Tensor, key: Tensor, *others: Any) -> int:
    """Count attention: each pair of query and key has a dot product, and a product with the value."""
    return query.numel() * key.shape[-2] + output.numel() * key.shape[-2]


def _einsum(output: Tensor, equation: str, *operands: Any) -> int:
    """Count an einsum: the product of the sizes of all axes; an upper bound for more than two tensors."""
    sizes: dict[str, int] = {}
    if isinstance(operands[0], (list, tuple)):
        operands = tuple(operands[0])
    for labels, x in zip(equation.replace(" ", "").partition("->")[0].split(","), operands, strict=True):
        every = labels.replace("...", "0123456789"[: x.ndim - len(labels) + 3])
        sizes |= zip(every, x.shape, strict=True)
    return math.prod(sizes.values()) * (len(operands) - 1)


def _multi_head_attention(outputs: tuple[Tensor, Any], query: Tensor, key: Tensor, *others: Any) -> int:
    """Count attention with its four projections: of queries, keys, values, outputs (length, batch, features)."""
    (length, batch, features), keys = query.shape, key.shape[0]
    return batch * features * (2 * features * (length + keys) + 2 * length * keys)


FORMULAS: dict[Callable[..., Any], Callable[..., int]] = {
    **dict.fromkeys([F.conv1d, F.conv2d, F.conv3d], _convolution),
    **dict.fromkeys([F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d], _transposed),
    **dict.fromkeys([F.linear, torch.matmul, torch.mm, torch.bmm, Tensor.matmul, Tensor.__matmul__], _product),
    **dict.fromkeys([torch.addmm, torch.baddbmm], lambda output, added, *factors: _product(output, *factors)),
    torch.einsum: _einsum,
    F.scaled_dot_product_attention: _attention,
    F.multi_head_attention_forward: _multi_head_attention,
}


# operations that keep the shape; on meta tensors torch runs each of them as a dozen operations in Python
KEEP_SHAPE = {F.batch_norm, F.relu, F.gelu, torch.tanh, torch.sigmoid}


class MultiplyAdds(TorchFunctionMode):
    """Context in which the multiply-adds of convolutions and matrix products are counted, other operations not."""

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in KEEP_SHAPE and args[0].is_meta and _per_channel(*args, *kwargs.values()):
            return args[0]
        output = func(*args, **kwargs)
        if func in FORMULAS:
            self.total += FORMULAS[func](output, *args, *kwargs.values())
        return output


def _per_channel(x: Tensor, *others: Any) -> bool:
    """Return whether all other tensors have a value for each channel, as those of batch norm must."""
    return all(other.shape == x.shape[1:2] for other in others if isinstance(other, Tensor))
