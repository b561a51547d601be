"""Aggregate the scalars that a variant's runs logged: mean, lowest and highest at each step."""

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cnnlab.runs.record import read_scalars


@dataclass(frozen=True)
class Curve:
    """One scalar over the runs of a variant."""

    steps: NDArray[np.int64]  # (n,), ascending, at which any run has a value
    mean: NDArray[np.float64]  # (n,), over the runs that have a value there
    lowest: NDArray[np.float64]  # (n,) of these values
    highest: NDArray[np.float64]  # (n,) of these values


Curves = Mapping[str, Curve]  # by the scalar's name


def curves_over(directories: Sequence[Path]) -> Curves:
    """Return the curves over the runs of a variant; damaged logs are skipped.

    Where epochs of the runs end at different steps, as in cross-validation, they are aligned with the first run's.
    """
    ends: dict[float, int] = {}  # last step of each epoch
    series: dict[str, list[dict[int, float]]] = {}
    for directory in directories:
        scalars: Mapping[str, Mapping[int, float]] = {}
        with contextlib.suppress(ValueError):
            scalars = read_scalars(directory)
        moved = {step: ends.setdefault(epoch, step) for step, epoch in scalars.get("epoch", {}).items()}
        for name, values in scalars.items():
            series.setdefault(name, []).append({moved.get(s, s): v for s, v in values.items() if isfinite(v)})
    return {name: _curve(own) for name, own in series.items() if any(own)}


def by_epoch(curves: Curves, name: str) -> tuple[NDArray[np.float64], Curve] | None:
    """Return a scalar's curve at the ends of epochs, with their numbers from 1; None where no run logged it."""
    curve, epochs = curves.get(name), curves.get("epoch")
    if curve is None or epochs is None:
        return None
    _, ours, theirs = np.intersect1d(curve.steps, epochs.steps, return_indices=True)
    at_ends = Curve(curve.steps[ours], curve.mean[ours], curve.lowest[ours], curve.highest[ours])
    return epochs.mean[theirs] + 1, at_ends


def _curve(series: Sequence[Mapping[int, float]]) -> Curve:
    steps = np.array(sorted(set().union(*series)), dtype=np.int64)
    table = np.full((len(series), len(steps)), np.nan)
    for row, own in zip(table, series, strict=True):
        row[np.searchsorted(steps, np.fromiter(own.keys(), np.int64))] = np.fromiter(own.values(), np.float64)
    return Curve(steps, np.nanmean(table, 0), np.nanmin(table, 0), np.nanmax(table, 0))
