"""Place and label the ticks of plots' axes."""

from collections.abc import Sequence
from math import ceil, floor, inf, log10

import numpy as np

PREFIXES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (1, ""))

FACTORS = ((30.0, (1, 2, 3, 5)), (300.0, (1, 2, 5)), (1e4, (1, 3)), (inf, (1,)))  # of powers of ten, by high / low


def ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Return about `most` round numbers within a range, in steps of 1, 2 or 5 times a power of ten."""
    if high <= low:
        return [low]
    rough = (high - low) / most
    power = 10.0 ** floor(log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * (1 - 1e-9))
    return [round(i * step, 12) + 0.0 for i in range(ceil(low / step - 1e-9), floor(high / step + 1e-9) + 1)]


def logarithmic_ticks(low: float, high: float) -> list[float]:
    """Return round numbers within a range of a logarithmic axis: about three to eight, however wide it is."""
    if high < 5 * low:
        return ticks(low, high, 5)
    decades = range(floor(log10(low)), ceil(log10(high)) + 1)
    factors = next(factors for widest, factors in FACTORS if high < widest * low)
    found = [f * 10.0**d for d in decades for f in factors if low <= f * 10.0**d <= high]
    return found[:: ceil(len(found) / 8)]


def placed_ticks(values: Sequence[float], unit: str) -> tuple[list[float], list[str]]:
    """Return positions and labels of round numbers on an axis where position i has the i-th of monotonic values."""
    order = np.argsort(values)
    found = ticks(min(values), max(values), most=4)
    return np.interp(found, np.asarray(values)[order], order).tolist(), [
        engineering(value, " ") + unit for value in found
    ]


def number(value: float) -> str:
    """Format a number without trailing zeros."""
    return f"{value:.10g}"


def engineering(value: float, space: str = "") -> str:
    """Format a number with a prefix k, M, G or T, after `space`."""
    size, prefix = next((p for p in PREFIXES if abs(value) >= p[0]), (1, ""))
    return f"{value / size:.6g}{space}{prefix}"
