"""Hydra reads and arranges files of configs once in a test process, as long as they stay as they are.

Both are most of composing. Overrides are applied to a copy, as ever; commands that tests start as processes
compose without any of this.
"""

import copy
import os
import pickle
from collections.abc import Callable
from dataclasses import astuple, replace
from typing import Any

from hydra._internal import config_loader_impl, defaults_list
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import CachingConfigRepository, ConfigRepository, IConfigRepository
from hydra._internal.defaults_list import DefaultsList
from hydra.core.override_parser.types import Override


def read_once() -> None:
    """Patch Hydra in this process."""
    kept: dict[Any, bytes] = {}

    def copy_of(key: Any, make: Callable[[], Any]) -> Any:
        if key not in kept:
            kept[key] = pickle.dumps(make())
        return pickle.loads(kept[key])

    load, merge = ConfigRepository.load_config, ConfigLoaderImpl._compose_config_from_defaults_list

    def load_config(self: ConfigRepository, config_path: str) -> Any:
        return copy_of(files_of(self, config_path), lambda: load(self, config_path))

    def compose_config(self: ConfigLoaderImpl, defaults: list[Any], repo: IConfigRepository) -> Any:
        key = tuple((astuple(one), files_of(repo, one.config_path)) for one in defaults)
        return copy_of(key, lambda: merge(self, defaults, repo))

    arranged: dict[Any, tuple[dict[str, Any], DefaultsList]] = {}
    arrange, known = config_loader_impl.create_defaults_list, defaults_list._create_interpolation_map

    def create_defaults_list(
        repo: IConfigRepository, config_name: str | None, overrides_list: list[Override], **options: bool
    ) -> DefaultsList:
        groups = [one for one in overrides_list if names_group(repo, one)]
        key = (config_name, *options.items(), *(one.input_line for one in groups), *where(repo))
        files, found = arranged.get(key, ({}, None))
        if found is None or any(files_of(repo, path) != before for path, before in files.items()):
            reader = Reader(repo)
            found = arrange(reader, config_name, overrides_list, **options)
            arranged[key] = ({path: files_of(repo, path) for path in reader.paths}, found)
        others = [one for one in overrides_list if one not in groups and not one.is_sweep_override()]
        return replace(found, config_overrides=others)

    def known_if_asked(overrides: Any, entries: list[Any], self_added: bool) -> Any:
        return known(overrides, entries, self_added) if any(entry.is_interpolation() for entry in entries) else None

    def refer(self: CachingConfigRepository, delegate: IConfigRepository) -> None:
        self.delegate, self.cache = delegate, {}

    def initialize_sources(self: CachingConfigRepository, config_search_path: Any) -> None:
        self.delegate = copy.deepcopy(self.delegate)  # only where another search path changes it
        self.delegate.initialize_sources(config_search_path)

    ConfigRepository.load_config = load_config
    ConfigLoaderImpl._compose_config_from_defaults_list = compose_config
    config_loader_impl.create_defaults_list = create_defaults_list
    defaults_list._create_interpolation_map = known_if_asked
    CachingConfigRepository.__init__ = refer
    CachingConfigRepository.initialize_sources = initialize_sources


class Reader:
    """A repository that notes which configs are looked for."""

    def __init__(self, repo: IConfigRepository) -> None:
        self.repo, self.paths = repo, set[str]()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.repo, name)

    def load_config(self, config_path: str) -> Any:
        self.paths.add(config_path)
        return self.repo.load_config(config_path)


def names_group(repo: IConfigRepository, override: Override) -> bool:
    """Whether an override chooses from a group, `model=mlp`, as Hydra's `Overrides` decides it."""
    if override.is_sweep_override() or isinstance(override.value(), dict):
        return False
    return repo.group_exists(override.key_or_group)


def where(repo: IConfigRepository) -> tuple[tuple[str, str], ...]:
    return tuple((source.scheme(), source.path) for source in repo.get_sources())


def files_of(repo: IConfigRepository, config_path: str | None) -> tuple[Any, ...]:
    """Where a config may lie, and of the files that are there when they were written and how long they are."""
    return (config_path, *((scheme, path, written(f"{path}/{config_path}.yaml")) for scheme, path in where(repo)))


def written(path: str) -> tuple[int, int] | None:
    try:
        found = os.stat(path)  # noqa: PTH116  # Path takes ten times as long, for what is asked thousands of times
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size
