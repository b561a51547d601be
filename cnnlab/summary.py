"""The layer table of a network, without training it."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from cnnlab.config import command
from cnnlab.reporting.tables import Table, show


def summary(config: dict[str, Any]) -> dict[str, Any]:
    """What `format=json` prints: model, input_shape, layers with their sizes, params and macs; no batch axis.

    Args:
        config: `model`, and `data` or else `input_shape` and `num_classes`.

    Raises:
        ValueError: the network does not fit the shape.
    """
    import torch

    from cnnlab.data.sources import facts
    from cnnlab.models.network import Network

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
        "layers": [{k: v for k, v in asdict(row).items() if v != ""} for row in network.table],
        "params": network.params,
        "macs": network.macs,
    }


def _task(config: dict[str, Any]) -> None:
    if config["format"] not in ("table", "json"):
        raise ValueError(f"format={config['format']}: known are table and json")
    result = summary(config)
    if config["format"] == "json":
        print(json.dumps(result, indent=2))
        return
    resized = config["input_shape"] is None and config["data"].get("resize")
    print(
        f"{result['model']} on {show(result['input_shape'])}"
        + (f" (data.resize={resized})" if resized else "")
        + f", {result['num_classes']} classes\n"
    )
    rows = [{"layer": row.pop("name"), **{k.replace("_", " "): v for k, v in row.items()}} for row in result["layers"]]
    print(Table([*rows, {"layer": "total", "params": result["params"], "macs": result["macs"]}]))


main = command("summary", _task)

if __name__ == "__main__":
    main()
