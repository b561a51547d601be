"""Tell configs apart: hash, flatten, difference."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

Config = dict[str, Any]  # as plain containers, everything resolved

# where and how a run was carried out, not what it computed
NOT_IDENTITY = ("data_dir", "output_dir", "run_name", "resume", "checkpoint_every", "trusted_modules", "study")
PLACES = {"run_name", "output_dir", "data_dir", "data.dir", "resume"}
# where the classes that a `_target_` names have been before, and are now; hashes are of the former names
MOVED = {
    "cnnlab.optim.Muon": "cnnlab.training.muon.Muon",
    "cnnlab.optim.": "cnnlab.training.optim.",
    "cnnlab.callbacks.lookahead.": "cnnlab.training.callbacks.lookahead.",
    "cnnlab.callbacks.": "cnnlab.inspection.",
}
# keys that earlier versions did not have; at these values they change nothing, and no hash
LATER: dict[str, dict[str, Any]] = {
    "": {"metrics": [], "class_weights": None},
    "model": {"repair": False, "freeze": [], "loss": None},
    "data": {"channels": None, "crop": None, "folds": None, "fold": None},
    "study": {
        "leave_out_blocks": False,
        "margin": None,
        "metric": None,
        "folds": None,
        "factorial": None,
        "pairs": None,
        "tune": None,
        "tuning": False,
        "vary": ["seed"],
    },
}
PLACEMENT = ("accelerator", "devices", "num_nodes", "strategy", "sync_batchnorm")


def differing(flats: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the keys, sorted, in which flattened configs differ; where a run lies is no difference."""
    keys = sorted({k for flat in flats for k in flat} - PLACES)
    return [k for k in keys if len({json.dumps(flat.get(k)) for flat in flats}) > 1]


def flatten(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Make one mapping of nested ones, with dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, Mapping) and value:
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def config_hash(config: Mapping[str, Any]) -> str:
    """Hash what a config computes, wherever and however it is carried out, to eight hexadecimal digits."""
    identity = {k: v for k, v in config.items() if k not in NOT_IDENTITY and (k not in LATER[""] or v != LATER[""][k])}
    identity["trainer"] = {k: v for k, v in config["trainer"].items() if k not in PLACEMENT}
    identity["data"] = {k: v for k, v in config["data"].items() if k != "dir"}
    for part in ("model", "data"):
        identity[part] = {k: v for k, v in identity[part].items() if k not in LATER[part] or v != LATER[part][k]}
    return digest(rename_targets(identity, {now: before for before, now in MOVED.items()}))


def rename_targets(config: Any, names: Mapping[str, str]) -> Any:
    """Return a config whose `_target_`s begin with other names.

    Args:
        config: nested plain containers.
        names: for each beginning the one that replaces it; the first that fits counts.
    """
    if isinstance(config, list):
        return [rename_targets(value, names) for value in config]
    if not isinstance(config, Mapping):
        return config
    renamed = {key: rename_targets(value, names) for key, value in config.items()}
    if isinstance(target := renamed.get("_target_"), str):
        for beginning, other in names.items():
            if target.startswith(beginning):
                return renamed | {"_target_": other + target[len(beginning) :]}
    return renamed


def digest(content: Mapping[str, Any]) -> str:
    """Hash plain containers to eight hexadecimal digits."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:8]


def value_at(config: Mapping[str, Any], key: str, missing: Any = None) -> Any:
    """Return what a config has at a dotted key, or `missing`."""
    value: Any = config
    for part in key.split("."):
        if not isinstance(value, Mapping) or part not in value:
            return missing
        value = value[part]
    return value


def varied_value(config: Mapping[str, Any], key: str) -> Any:
    """Return what a job's config has at a key: a value, the name of a group's choice, or JSON."""
    value = value_at(config, key)
    if isinstance(value, Mapping):
        value = value.get("name") or str(value.get("_target_", "")).rpartition(".")[2] or value
    return value if isinstance(value, (bool, int, float, str)) else json.dumps(value)
