"""Summarise a network without training it: its layer table, or its graph."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import torch

from cnnlab.data.images import PICTURES
from cnnlab.data.load import facts, form
from cnnlab.inspection.dot import dot, svg
from cnnlab.models.network import Network
from cnnlab.models.table import Row
from cnnlab.reporting.tables import Bytes, Table, show


def as_json(row: Row) -> dict[str, Any]:
    """Return a row of the layer table with the keys of `format=json`."""
    return {"from" if key == "sources" else key: value for key, value in asdict(row).items() if value not in ("", None)}


def summary(config: dict[str, Any]) -> dict[str, Any]:
    """Return what `format=json` prints: model, input_shape, layers and totals; shapes have no batch axis.

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
    vocabulary: Sequence[str] = ()
    if shape is None or classes is None:
        data_shape, data_classes, words = facts(config["data"])
        shape, classes, vocabulary = shape or data_shape, classes or data_classes, words if shape is None else ()
    with torch.device("meta"):
        network = Network(config["model"], shape, classes, vocabulary)
    return {
        "model": config["model"]["name"],
        "input_shape": list(shape),
        "num_classes": classes,
        "layers": [as_json(row) for row in network.table],
        "params": network.params,
        "macs": network.macs,
        "memory": sum(row.memory for row in network.table),
        **({"frozen": sum(row.frozen or 0 for row in network.table)} if network.frozen else {}),
    }


def formatted(result: Mapping[str, Any], config: Mapping[str, Any]) -> str:
    """Format the `summary` of a config by its `format`: the layer table, JSON, DOT text or SVG.

    Raises:
        ValueError: SVG needs Graphviz, and it is not installed.
    """
    match config["format"]:
        case "json":
            return json.dumps(result, indent=2)
        case "dot":
            return dot(result)
        case "svg":
            return svg(dot(result))
    shape = show(result["input_shape"]) + (_shape_note(config["data"]) if config["input_shape"] is None else "")
    return f"{result['model']} on {shape}, {result['num_classes']} classes\n\n{layer_table(result)}"


def _shape_note(data: Mapping[str, Any]) -> str:
    """Return a note on the input's shape: the names of axes other than those of pictures, and `data.resize`."""
    data_form, resized = form(data), data.get("resize")
    axes = "" if data_form is PICTURES else " x ".join(data_form.axes)
    parts = [part for part in (axes, f"data.resize={resized}" if resized else "") if part]
    return f" ({', '.join(parts)})" if parts else ""


def layer_table(result: Mapping[str, Any]) -> Table:
    """Make the table of `format=table`: a row for each layer; columns `from`, `frozen` and `note` only where needed."""
    layers = result["layers"]
    names = [layer["name"] for layer in layers]
    sources = [
        None if layer["from"] == (before,) else ", ".join(layer["from"])
        for layer, before in zip(layers, ["input", *names], strict=False)
    ]
    rows = []
    for layer, source in zip(layers, sources, strict=True):
        row = {"layer": layer["name"], "kind": layer["kind"]}
        if any(sources):
            row["from"] = source
        row |= {"output shape": layer["output_shape"], "params": layer["params"]}
        if "frozen" in result:
            row["frozen"] = layer.get("frozen")
        row |= {"macs": layer["macs"], "memory": Bytes(layer["memory"]), "receptive field": layer["receptive_field"]}
        rows.append(row | ({"note": layer["note"]} if "note" in layer else {}))
    sums = {key: result[key] for key in ("params", "frozen", "macs") if key in result}
    return Table([*rows, {"layer": "total", **sums, "memory": Bytes(result["memory"])}])
