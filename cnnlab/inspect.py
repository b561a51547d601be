"""Inspect the network of a finished run: write TensorBoard events and one HTML page, without training."""

import os
from typing import Any

from cnnlab.config.command import command
from cnnlab.trained.run import Run


def _task(config: dict[str, Any]) -> None:
    from cnnlab.inspection.inspect import inspect

    run = Run.chosen(config, needs_data=True).reading(config["data_dir"])
    page = inspect(run, config["callbacks"], config["images"], config["trusted_modules"])
    print(f"page         {os.path.relpath(page)}\nTensorBoard  tensorboard --logdir {os.path.relpath(page.parent)}")


main = command("inspect", _task)

if __name__ == "__main__":
    main()
