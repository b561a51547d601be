"""Identify and compare configs: hashes, flattened keys, differences."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

Config = dict[str, Any]  # as plain containers, everything resolved

# keys that change where and how a run computes, but not its results
NOT_IDENTITY = ("data_dir", "output_dir", "run_name", "resume", "checkpoint_every", "trusted_modules", "study")
PLACES = {"run_name", "output_dir", "data_dir", "data.dir", "resume"}
# former and present beginnings of `_target_`s; hashes use the former, so that they stay the same
MOVED = {
    "cnnlab.optim.Muon": "cnnlab.training.muon.Muon",
    "cnnlab.optim.": "cnnlab.training.optim.",
    "cnnlab.callbacks.lookahead.": "cnnlab.training.callbacks.lookahead.",
    "cnnlab.callbacks.": "cnnlab.inspection.",
}
# keys that earlier versions lack; at these values they change nothing and are left out of hashes
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
    """Return the sorted keys in which flattened configs differ, other than the PLACES of a run and its data."""
    keys = sorted({k for flat in flats for k in flat} - PLACES)
    return [k for k in keys if len({json.dumps(flat.get(k)) for flat in flats}) > 1]


def flatten(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flatten nested mappings into one with dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, Mapping) and value:
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def config_hash(config: Mapping[str, Any]) -> str:
    """Hash the keys of a config that determine its results to eight hexadecimal digits."""
    identity = {k: v for k, v in config.items() if k not in NOT_IDENTITY and (k not in LATER[""] or v != LATER[""][k])}
    identity["trainer"] = {k: v for k, v in config["trainer"].items() if k not in PLACEMENT}
    identity["data"] = {k: v for k, v in config["data"].items() if k != "dir"}
    for part in ("model", "data"):
        identity[part] = {k: v for k, v in identity[part].items() if k not in LATER[part] or v != LATER[part][k]}
    return digest(rename_targets(identity, {now: before for before, now in MOVED.items()}))


def rename_targets(config: Any, names: Mapping[str, str]) -> Any:
    """Replace the beginnings of the `_target_`s in a config.

    Args:
        config: nested plain containers.
        names: from each beginning to its replacement; the first that fits is used.
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
    """Return the value of a config at a dotted key, or `missing`."""
    value: Any = config
    for part in key.split("."):
        if not isinstance(value, Mapping) or part not in value:
            return missing
        value = value[part]
    return value


def varied_value(config: Mapping[str, Any], key: str) -> Any:
    """Return the value of a job's config at a key: a scalar, the name of a group's choice, or JSON."""
    value = value_at(config, key)
    if isinstance(value, Mapping):
        value = value.get("name") or str(value.get("_target_", "")).rpartition(".")[2] or value
    return value if isinstance(value, (bool, int, float, str)) else json.dumps(value)
