"""Refuse configs with unknown or missing keys.

The shipped files, `conf/<command>.yaml` and `conf/common/`, have the keys that a config may and must have. A user's
own key is accepted if another key reads it by interpolation, as with `groups` in `conf/model/alexnet.yaml`.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, ListConfig
from omegaconf.base import Container

from cnnlab.config.identity import LATER  # keys that a run of an earlier version lacks
from cnnlab.registry import hint

MODEL = {"name", "layers"}  # required keys of a model; those of conf/common/model.yaml are optional
SET_BY_STUDY = ("variant", "varied")  # keys of `study` that a study sets in its runs; a single run may have them
PLACEMENT = {"accelerator", "devices", "strategy"}  # keys of a trainer in addition to conf/common/trainer.yaml


def conf_dir() -> Path:
    """Return the folder of the shipped configs: inside an installed package, or at the root of a checkout."""
    packaged = Path(__file__).parents[1] / "conf"
    return packaged if packaged.is_dir() else Path(__file__).parents[2] / "conf"


def refuse_unknown_keys(config: DictConfig, command: str) -> None:
    """Refuse a key that nothing reads, in a command's composed config with unresolved interpolations.

    Raises:
        ValueError: names the key and the nearest known one.
    """
    read = set(references(config))
    for path, required, optional in _expected(config, command):
        for key in map(str, _at(config, path)):
            full = f"{path}.{key}" if path else key
            if key in required | optional | {"hydra"} or any(r == full or r.startswith(f"{full}.") for r in read):
                continue
            deeper = [k for k in dotted(config) if k.endswith(f".{key}") and not k.startswith(f"{path}.{key}")]
            known = deeper or sorted(required | optional)
            raise ValueError(f"{full}: there is no such key{hint(deeper[0] if deeper else key, known)}")


def refuse_missing_keys(config: Mapping[str, Any], command: str) -> None:
    """Refuse a command's config, composed or as plain containers, in which a key is missing.

    Raises:
        ValueError: names the key.
    """
    for path, required, _ in _expected(config, command):
        for key in sorted(required - set(map(str, _at(config, path)))):
            raise ValueError(f"{path}.{key} is missing" if path else f"{key} is missing")


def refuse_study_keys(study: Mapping[str, Any], reason: str, taken: Sequence[str] = ()) -> None:
    """Refuse keys of a study where nothing reads them.

    Args:
        reason: why they are not read, and what to do.
        taken: the keys that are read.

    Raises:
        ValueError: names a key whose value is not the shipped one.
    """
    for key, default in _shipped("train")["study"].items():
        if key not in (*taken, *SET_BY_STUDY) and study.get(key, default) != default:
            raise ValueError(f"study.{key}={study[key]}: {reason}")


def shipped_data(name: str, *keys: str) -> dict[str, Any]:
    """Return the shipped values of a dataset's keys."""
    own = _shipped(f"data/{name}") if (conf_dir() / f"data/{name}.yaml").is_file() else {}
    return {key: own.get(key, _shipped("common/data")[key]) for key in keys}


def dotted(config: DictConfig) -> list[str]:
    """Return all dotted keys of a config, without those of the node `hydra`."""
    found = []
    for key in map(str, config):
        node = config._get_node(key)
        if isinstance(node, DictConfig) and key != "hydra" and not node._is_none() and not node._is_interpolation():
            found += [f"{key}.{k}" for k in dotted(node)]
        found.append(key)
    return found


def _at(config: Mapping[str, Any], key: str) -> Any:
    """Return the mapping at a root key, or an empty one; values that are no mappings are refused elsewhere."""
    if not key or not isinstance(config, DictConfig):
        node = config.get(key) if key else config
        return node if isinstance(node, Mapping) else {}
    node = config._get_node(key)
    return node if isinstance(node, DictConfig) and not node._is_none() and not node._is_missing() else {}


def _expected(config: Mapping[str, Any], command: str) -> Iterator[tuple[str, set[str], set[str]]]:
    """Yield the nodes that have fixed keys: dotted path, required keys, optional keys."""
    required, optional = root_keys(command)
    later = set(LATER[""]) if command == "train" else set()
    yield "", set(required) - later, set(optional) | later
    if command == "train":
        yield "study", set(_shipped("train")["study"]) - set(LATER["study"]), set(LATER["study"])
        if isinstance(config.get("trainer"), Mapping):
            yield "trainer", PLACEMENT | set(_shipped("common/trainer")), set(map(str, config["trainer"]))
    if isinstance(config.get("data"), Mapping):
        name = str(config["data"].get("name"))
        # a user's own source reads the keys of its own file
        own = set() if (conf_dir() / f"data/{name}.yaml").is_file() else set(map(str, config["data"]))
        common = set(_shipped("common/data")) - set(LATER["data"])
        yield "data", {"name", *common, *_source_keys(name)}, own | set(LATER["data"])
    if isinstance(config.get("model"), Mapping):
        yield "model", MODEL, set(_shipped("common/model"))


@cache
def _source_keys(name: str) -> frozenset[str]:
    """Return the keys of a dataset's shipped config in addition to those that all datasets have."""
    if not (conf_dir() / f"data/{name}.yaml").is_file():
        return frozenset()
    content = _shipped(f"data/{name}")
    entries = [str(e).partition("@")[0] for e in content["defaults"] if e not in ("_self_", "/common/data@_here_")]
    inherited = [_shipped(e[1:]) if e.startswith("/") else _source_keys(e) for e in entries]
    return frozenset(content).union(*inherited) - {"defaults"}


@cache
def root_keys(command: str) -> tuple[frozenset[str], frozenset[str]]:
    """Return the root keys of a command's config: required keys, and groups that may be null."""
    content = _shipped(command)
    required, optional = set(content) - {"defaults", "hydra"}, set()
    for entry in content.get("defaults", []):
        if isinstance(entry, str):
            inherited = root_keys(entry) if entry != "_self_" else ((), ())
            required |= set(inherited[0])
            optional |= set(inherited[1])
            continue
        ((group, choice),) = entry.items()
        if not group.startswith(("override ", "optional ")) and not _is_global(group):
            (optional if choice is None else required).add(group)
    return frozenset(required), frozenset(optional)


def _is_global(group: str) -> bool:
    """Tell whether a group's files set keys of the root, so that the group has no key of its own."""
    return all(p.read_text().startswith("# @package _global_") for p in (conf_dir() / group).glob("*.yaml"))


@cache
def _shipped(name: str) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((conf_dir() / f"{name}.yaml").read_text())
    return content


def references(node: Any) -> Iterator[str]:
    """Yield the dotted keys, from the root, that interpolations in a config read."""
    keys = list(node) if isinstance(node, DictConfig) else range(len(node)) if isinstance(node, ListConfig) else []
    for key in keys:
        child = node._get_node(key)
        if child is None or (isinstance(node, DictConfig) and key == "hydra" and node._get_parent() is None):
            continue
        if child._is_interpolation():
            for dots, name in re.findall(r"\$\{(?:oc\.select:)?\s*(\.*)([\w.]+)", str(child._value())):
                yield _absolute(child, dots, name)
        elif isinstance(child, Container) and not child._is_none() and not child._is_missing():
            yield from references(child)


def _absolute(node: Any, dots: str, name: str) -> str:
    """Resolve the key of an interpolation: one dot means the mapping that contains it, two the next outer one."""
    if not dots:
        return name
    parent = node
    for _ in dots:
        parent = parent._get_parent()
    prefix = parent._get_full_key(None)
    return f"{prefix}.{name}" if prefix else name
