"""Make the entry point of a command."""

import io
import os
import sys
from collections.abc import Callable
from typing import Any

import hydra
from omegaconf import DictConfig

from cnnlab.config.compose import plain, quote, run_id
from cnnlab.config.errors import one_line_errors
from cnnlab.config.keys import conf_dir


def command(name: str, task: Callable[[dict[str, Any]], None]) -> Callable[[], None]:
    """Return a function that calls `task` with `conf/<name>.yaml` and the overrides of the command line."""

    def main() -> None:
        def checked_task(config: DictConfig) -> None:
            with one_line_errors():  # inside, because Hydra rewrites exceptions that leave a task
                task(plain(config, name))

        run_id.cache_clear()
        os.environ["HYDRA_FULL_ERROR"] = "1"  # otherwise Hydra prints errors in its own way and exits
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors="backslashreplace")  # a file's name may be any bytes
        sys.argv[1:] = [quote(a) if "=" in a and not a.startswith("-") else a for a in sys.argv[1:]]
        with one_line_errors():
            hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name=name)(checked_task)()

    return main
