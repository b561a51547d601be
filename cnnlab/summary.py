"""Print the layer table of a network, or its graph, without training it."""

from typing import Any

from cnnlab.config.command import command

FORMATS = ("table", "json", "dot", "svg")


def _task(config: dict[str, Any]) -> None:
    if config["format"] not in FORMATS:
        raise ValueError(f"format={config['format']}: known are {', '.join(FORMATS)}")
    from cnnlab.inspection.summary import formatted, summary  # with torch, which a wrong format need not wait for

    print(formatted(summary(config), config))


main = command("summary", _task)

if __name__ == "__main__":
    main()
