"""Tune each variant of a study by validation accuracy, with equally many trials each, before the study runs."""

from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

from cnnlab.config.identity import value_at
from cnnlab.runs.record import Record, completed

SEED = 900_001  # of all trials, and unlikely to be one of the study's
MISSING = object()  # stands for the value of a key that a config lacks


def trial_overrides(tune: Mapping[str, Sequence[Any]], config: Mapping[str, Any]) -> list[list[str]]:
    """List the overrides of each trial of a variant: all combinations of the values of all keys.

    Args:
        tune: `study.tune`: keys with a list of values each. A number multiplies the variant's own value; a string is
            the value itself, "=0.1" the value 0.1.
        config: of the variant.

    Raises:
        ValueError: `tune` is not a mapping, a key is unknown or has no values, or a factor has no number to multiply.
    """
    axes = []
    if not isinstance(tune, Mapping):
        raise ValueError(f"study.tune={tune}: a mapping of keys to values, {{optimizer.lr: [0.3,1,3]}}")
    for key, values in tune.items():
        present = value_at(config, key, MISSING)
        if present is MISSING:
            raise ValueError(f"study.tune: there is no key {key}")
        if isinstance(values, str) or not isinstance(values, Sequence) or not values:
            raise ValueError(f"study.tune: {key} needs a list of values, not {values!r}")
        axis = []
        for value in values:
            if isinstance(value, (int, float)) and not isinstance(value, bool):
                if not isinstance(present, (int, float)) or isinstance(present, bool):
                    raise ValueError(f"study.tune: {key} is {present!r}, no number to multiply; write '={value}'")
                axis.append(f"{key}={float(f'{present * value:.6g}')!r}")
            else:
                axis.append(f"{key}={'null' if value is None else str(value).removeprefix('=')}")
        axes.append(axis)
    return [list(chosen) for chosen in product(*axes)]


def chosen_overrides(tuned: Sequence[Mapping[str, Any]], variant: str) -> list[str]:
    """Return the overrides that were chosen for a variant; [] if it was not tuned."""
    return next((list(row["overrides"]) for row in tuned if row["variant"] == variant and row["chosen"]), [])


def select_trials(variant: str, trials: Sequence[tuple[list[str], Path]]) -> list[dict[str, Any]]:
    """Select the trial of a variant with the best validation accuracy, of equals the first.

    Returns a row for each: `variant`, `overrides`, `val/acc` (None if the trial failed) and `chosen`.

    Raises:
        ValueError: all trials failed.
    """
    found = [Record.load(place).metrics["val/acc"] if completed(place) else None for _, place in trials]
    known = [value for value in found if value is not None]
    if not known:
        raise ValueError(f"study.tune: all {len(trials)} trials of {variant} failed; see {trials[0][1].parent}")
    best = found.index(max(known))
    return [
        {"variant": variant, "overrides": overrides, "val/acc": value, "chosen": number == best}
        for number, ((overrides, _), value) in enumerate(zip(trials, found, strict=True))
    ]
