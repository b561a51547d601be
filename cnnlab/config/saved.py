"""Read the saved config of a run, fast, because a report may read a thousand."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf._utils import get_yaml_loader

from cnnlab.registry import one_line

# interpolations whose keys are computed, not written out
COMPUTED = re.compile(r"\$\{\$|oc\.select|oc\.dict")


_Loader = get_yaml_loader()
if yaml.__with_libyaml__:

    class _Loader(yaml.cyaml.CParser, get_yaml_loader()):  # type: ignore[misc, no-redef]
        """OmegaConf's YAML loader on libyaml's parser, which takes an eighth of the time."""

        def __init__(self, stream: str) -> None:
            yaml.cyaml.CParser.__init__(self, stream)
            yaml.constructor.SafeConstructor.__init__(self)
            yaml.resolver.Resolver.__init__(self)


def read_yaml(path: Path) -> dict[str, Any]:
    """Return the mapping in a YAML file as plain containers, with unresolved interpolations.

    Raises:
        ValueError: the file is damaged, or has a Python tag, which would create objects.
    """
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        raise ValueError(f"{path} is damaged: {one_line(error)}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} is damaged: it holds no mapping")
    return content


def resolve(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return plain containers with their interpolations resolved.

    OmegaConf's containers are slow to create, and few keys have interpolations: only root keys that have one, or that
    one may name, are converted.
    """
    try:
        texts = {key: json.dumps(value, ensure_ascii=False) for key, value in content.items()}
    except TypeError:  # values that JSON does not have
        return to_plain(OmegaConf.create(dict(content)))
    parts = {key for key, text in texts.items() if "${" in text or "???" in text}
    if any(COMPUTED.search(texts[key]) for key in parts):
        return to_plain(OmegaConf.create(dict(content)))
    while True:
        words = {
            word for key in parts for part in re.findall(r'\$\{[^"]*', texts[key]) for word in re.findall(r"\w+", part)
        }
        if words.isdisjoint(texts.keys() - parts):
            break
        parts |= words & texts.keys()
    return dict(content) | to_plain(OmegaConf.create({k: v for k, v in content.items() if k in parts}))


def to_plain(config: DictConfig) -> dict[str, Any]:
    """Return a config as plain containers, with all interpolations resolved."""
    return OmegaConf.to_container(config, resolve=True, throw_on_missing=True)  # type: ignore[return-value]
