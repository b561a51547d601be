"""The layer table of a network, without training it."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import torch

from cnnlab.data.load import facts
from cnnlab.models.network import Network
from cnnlab.models.table import Row


def as_json(row: Row) -> dict[str, Any]:
    """A row of the layer table under the names that `format=json` has."""
    return {"from" if key == "sources" else key: value for key, value in asdict(row).items() if value != ""}


def summary(config: dict[str, Any]) -> dict[str, Any]:
    """What `format=json` prints: model, input_shape, layers with their sizes, params and macs; no batch axis.

    Args:
        config: `model`, and `data` or else `input_shape` and `num_classes`.

    Raises:
        ValueError: the network does not fit the shape.
    """
    shape: Sequence[int] | None = config["input_shape"]
    classes = config["num_classes"]
    if shape is not None and not (isinstance(shape, list) and all(isinstance(n, int) and n > 0 for n in shape)):
        raise ValueError(f"input_shape is a list of whole numbers of at least 1, such as [3,227,227], not {shape!r}")
    if classes is not None and not (isinstance(classes, int) and classes > 0):
        raise ValueError(f"num_classes is a whole number of at least 1, not {classes!r}")
    if shape is None or classes is None:
        data_shape, data_classes = facts(config["data"])
        shape, classes = shape or data_shape, classes or data_classes
    with torch.device("meta"):
        network = Network(config["model"], shape, classes)
    return {
        "model": config["model"]["name"],
        "input_shape": list(shape),
        "num_classes": classes,
        "layers": [as_json(row) for row in network.table],
        "params": network.params,
        "macs": network.macs,
    }
