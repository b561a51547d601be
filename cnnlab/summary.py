"""The layer table of a network, without training it."""

import json
from typing import Any

from cnnlab.config.command import command
from cnnlab.reporting.tables import Table, show


def _task(config: dict[str, Any]) -> None:
    if config["format"] not in ("table", "json"):
        raise ValueError(f"format={config['format']}: known are table and json")
    from cnnlab.inspection.summary import summary  # with torch, which a wrong format need not wait for

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
