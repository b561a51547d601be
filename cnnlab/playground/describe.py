"""Describe a trained network as JSON for the page's engine, and its tensors as bytes."""

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor

from cnnlab.models.network import Network, Normalise
from cnnlab.models.table import class_layer
from cnnlab.playground.operations import NotComputedError, Op, operations_of
from cnnlab.playground.store import Store, is_rounded, rounded

LARGEST = 2**26  # parameters: those of AlexNet, in a file of some 170 MB
TOLERANCE = 1e-4  # largest change of a logit through 16-bit weights, as a share of the largest logit


def describe(network: Network, images: Tensor | None, means: Mapping[str, Tensor]) -> tuple[dict[str, Any], Store]:
    """Describe a network on the CPU in evaluation mode, its input normalisation included.

    Args:
        images: (N, C, H, W) as it takes them; large weights are stored in 16 bits if its logits for these stay the
            same, or if there are no images.
        means: mean output of each channel by layer; may be empty.

    Returns `input`, `layers` and `tensors` as the page's engine takes them, and the bytes that they point into.

    Raises:
        ValueError: the page cannot compute a layer, which it names, or the network is too large for a page.
    """
    ops = operations(network)
    store = Store(rounded=images is None or keeps_answers(network, images))
    answers = class_layer(network.table)
    layers = [
        {
            "name": row.name,
            "kind": row.kind,
            "from": list(row.sources),
            "shape": list(row.output_shape),
            "params": row.params + (row.frozen or 0),
            "sees": row.receptive_field,
            "reach": {name: list(getattr(network.reaches[row.name], name)) for name in ("first", "size", "step")},
            "answers": row.name == answers,
            "mean": store.tensor(means[row.name].flatten()) if row.name in means else None,
            "ops": [_stored(op, store) for op in ops[row.name]],
        }
        for row in network.table
    ]
    scale = network.get_submodule("input") if "input" in dict(network.named_children()) else Normalise([0.0], [1.0])
    shape = network.shapes["input"]
    given = {name: getattr(scale, name).flatten().expand(shape[0]).tolist() for name in ("mean", "std")}
    return {"input": {"shape": list(shape), **given}, "layers": layers, "tensors": store.tensors}, store


@torch.no_grad()
def operations(network: Network) -> dict[str, list[Op]]:
    """Describe the operations of each layer, by its name; a layer without any copies its input.

    Raises:
        ValueError: the page cannot compute a layer, which it names, or the network is too large for a page.
    """
    if (params := sum(p.numel() for p in network.parameters())) > LARGEST:
        raise ValueError(f"play: a network of {params:,} parameters is too large for a page, which holds {LARGEST:,}")
    values = {"input": torch.zeros(1, *network.shapes["input"])}
    found = {}
    for row in network.table:
        try:
            ops, values[row.name] = operations_of(network.get_submodule(row.name), [values[s] for s in row.sources])
        except NotComputedError as error:
            raise ValueError(f"{row.name}: {error}; python -m cnnlab.inspect looks at this network too") from error
        found[row.name] = ops or [{"op": "copy", "part": row.kind, "shape": list(row.output_shape)}]
    return found


@torch.no_grad()
def keeps_answers(network: Network, images: Tensor) -> bool:
    """Return whether the logits stay the same, to TOLERANCE, with large weights in 16 bits."""
    quantised = deepcopy(network)
    for values in [*quantised.parameters(), *quantised.buffers()]:
        if is_rounded(values):
            values.copy_(rounded(values))
    changes, size = 0.0, 0.0
    for part in images.split(50):
        exact = network(part)
        changes = max(changes, float((quantised(part) - exact).abs().max()))
        size = max(size, float(exact.abs().max()))
    return changes <= TOLERANCE * size


def _stored(op: Op, store: Store) -> dict[str, Any]:
    """Store the tensors of an operation; return it with their indices."""

    def place(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: place(inner) for key, inner in value.items()}
        return store.tensor(value) if isinstance(value, Tensor) else value

    return {key: place(value) for key, value in op.items()}
