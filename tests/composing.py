"""Hydra reads a file of configs once in a test process, as long as the file stays as it is: it is most of composing."""

import os
import pickle
from dataclasses import astuple
from typing import Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import ConfigRepository, IConfigRepository


def read_once() -> None:
    """Keep what Hydra makes of the files of a defaults list; overrides are applied to a copy, as ever.

    Commands that tests start as processes of their own read every file themselves.
    """
    kept: dict[Any, bytes] = {}

    def copy_of(key: Any, make: Any) -> Any:
        if key not in kept:
            kept[key] = pickle.dumps(make())
        return pickle.loads(kept[key])

    load, merge = ConfigRepository.load_config, ConfigLoaderImpl._compose_config_from_defaults_list

    def load_config(self: ConfigRepository, config_path: str) -> Any:
        return copy_of(files_of(self, config_path), lambda: load(self, config_path))

    def compose_config(self: ConfigLoaderImpl, defaults: list[Any], repo: IConfigRepository) -> Any:
        key = tuple((astuple(one), files_of(repo, one.config_path)) for one in defaults)
        return copy_of(key, lambda: merge(self, defaults, repo))

    ConfigRepository.load_config = load_config
    ConfigLoaderImpl._compose_config_from_defaults_list = compose_config


def files_of(repo: IConfigRepository, config_path: str | None) -> tuple[Any, ...]:
    """Where a config may lie, and of the files that are there when they were written and how long they are."""
    sources = ((source.scheme(), source.path) for source in repo.get_sources())
    return (config_path, *((scheme, path, written(f"{path}/{config_path}.yaml")) for scheme, path in sources))


def written(path: str) -> tuple[int, int] | None:
    try:
        found = os.stat(path)  # noqa: PTH116  # Path takes ten times as long, for what is asked thousands of times
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size
