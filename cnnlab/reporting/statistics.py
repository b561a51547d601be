"""Compute paired differences over seeds, intervals, and verdicts corrected for all comparisons.

All of it rests on one test. If a variant's true difference from the baseline is `m`, its differences less `m` are as
likely with their signs flipped; a p value is the share of sign flips that give a statistic at least as large as the
observed one (Fisher 1935). An interval holds the values that this test does not reject, so that it contains 0
exactly where p is at least 0.05. Several variants are tested together by the largest of their t statistics under common
flips (step-down max-T; Westfall & Young 1993), which assumes that their differences are jointly symmetric.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, nextafter

import numpy as np

LEVEL = 0.05
EXACT = 14  # differences up to which all sign flips are enumerated; for more, 2^13 are drawn
HALVINGS = 30  # of a step, in the bisection for an interval's end
NEAR = 1e-12  # relative difference up to which statistics count as equal

Array = np.ndarray


@dataclass(frozen=True)
class Difference:
    """The mean of a variant less that of the baseline, over the seeds that both have."""

    seeds: int
    mean: float
    low: float | None  # 95 % interval of the mean; None below 6 seeds
    high: float | None
    p: float | None  # of a sign-flip test, exact up to 14 seeds; uncorrected


@dataclass(frozen=True)
class Judgement:
    """The verdict on one variant among several."""

    p: float | None  # corrected for all comparisons
    low: float | None  # 95 % interval that holds for all variants together
    high: float | None
    verdict: str  # worse, better, equivalent, negligible or worse, negligible or better, inconclusive, too few seeds


def paired_difference(variant: Sequence[float], baseline: Sequence[float]) -> Difference:
    """Compute the mean of the differences, paired by seed, with its exact interval and p.

    The ends of the interval are means of subsets of the differences: with S the differences whose signs are flipped, a
    flip is as extreme as the observation exactly where the mean of S, or of the others, lies beyond the tested value.
    """
    differences = np.subtract(variant, baseline)
    count, mean = len(differences), float(np.mean(differences))
    if count < 2:
        return Difference(count, mean, None, None, None)
    flipped = sign_flips(count)[1:] < 0
    sizes, sums = flipped.sum(1), flipped @ differences
    means = _rounded(np.stack([sums / sizes, (differences.sum() - sums) / (count - sizes)]), differences)
    lows, highs = np.sort(means.min(0)), np.sort(-means.max(0))
    p = (1 + (np.sum(lows <= 0) if mean > 0 else np.sum(highs <= 0))) / (1 + len(lows))
    outside = ceil(LEVEL * (1 + len(lows))) - 1  # number of subset means that may lie beyond an end
    if outside < 1:
        return Difference(count, mean, None, None, float(p))
    return Difference(count, mean, float(lows[outside - 1]), float(-highs[outside - 1]), float(p))


def sign_flips(count: int) -> Array:
    """Return signs (flips, count) of 1 and -1, the first row all 1: all up to a common sign, or a random sample."""
    if count <= EXACT:
        return 1 - 2 * (np.arange(2 ** (count - 1))[:, None] >> np.arange(count) & 1)
    drawn = np.random.default_rng(0).choice([-1, 1], (2 ** (EXACT - 1), count))
    drawn[:, -1] = 1
    return np.concatenate([np.ones((1, count), int), drawn[(drawn < 0).any(1)]])


def _rounded(values: Array, scale: Array) -> Array:
    """Round off the noise of floating-point sums, so that ties compare equal."""
    largest = float(np.abs(scale).max())
    return np.round(values / largest, 12) * largest if largest else values


def seeds_needed() -> int:
    """Return the fewest seeds at which a difference can be significant: n differences of one sign have p = 2 / 2^n."""
    seeds = 1
    while 2 / 2**seeds >= LEVEL:
        seeds += 1
    return seeds


def judge(differences: Array, margin: float | None = None) -> list[Judgement]:
    """Compute corrected p, simultaneous interval and verdict of each variant.

    Args:
        differences: (seeds, variants), NaN where a run is missing.
        margin: a difference that is too small to matter.
    """
    seeds, variants = differences.shape
    present = ~np.isnan(differences)
    values = np.where(present, differences, 0.0)
    judgements = [Judgement(None, None, None, "too few seeds")] * variants
    enough = np.flatnonzero(present.sum(0) >= seeds_needed())  # fewer cannot be significant
    if not len(enough):
        return judgements
    flips = sign_flips(seeds)
    statistics = np.stack([_t(flips, values[:, v], present[:, v].sum()) for v in enough], 1)
    for place, (variant, p) in enumerate(zip(enough, _step_down(statistics), strict=True)):
        others = np.delete(statistics, place, 1).max(1, initial=0.0)
        low, high = _interval(flips, values[:, variant], present[:, variant], others)
        if p < LEVEL and low <= 0 <= high:  # step-down p rejects more than the interval: exclude 0
            low, high = (nextafter(0.0, 1.0), high) if low + high > 0 else (low, nextafter(0.0, -1.0))
        elif p >= LEVEL:  # bisection meets an end of 0 only approximately: include 0
            low, high = min(low, 0.0), max(high, 0.0)
        judgements[variant] = Judgement(p, low, high, verdict(p, low, high, margin))
    return judgements


def needed(difference: Difference, judgement: Judgement, margin: float | None = None) -> int:
    """Estimate the seeds for a verdict on a difference, if its mean and standard deviation stay as they are."""
    assert judgement.low is not None
    assert judgement.high is not None
    reach, mean = (judgement.high - judgement.low) / 2, abs(difference.mean)
    room = max(mean, margin - mean if margin is not None else 0.0)
    return ceil(difference.seeds * (reach / room) ** 2) + 1 if reach < 100 * room else 10**6


def _t(flips: Array, differences: Array, count: int) -> Array:
    """Compute magnitudes of the t statistic under each flip; missing differences are 0."""
    sums, squares = flips @ differences, max(float(differences @ differences), 1e-300)
    share = np.minimum(sums**2 / (max(count, 2) * squares), 1 - NEAR)
    t: Array = np.sqrt((max(count, 2) - 1) * share / (1 - share))
    return t


def _step_down(statistics: Array) -> list[float]:
    """Compute each variant's p: its statistic among the maxima, under each flip, of itself and smaller ones."""
    observed = statistics[0]
    order, corrected, floor = np.argsort(-observed), [1.0] * len(observed), 0.0
    for rank, variant in enumerate(order):
        largest = statistics[:, order[rank:]].max(1)
        floor = max(floor, float(np.mean(largest >= observed[variant] * (1 - NEAR))))
        corrected[variant] = floor
    return corrected


def _interval(flips: Array, differences: Array, present: Array, others: Array) -> tuple[float, float]:
    """Find the interval of values for one variant that the test of all variants together does not reject.

    Args:
        flips: (flips, seeds).
        differences, present: (seeds,) of the variant.
        others: (flips,) the largest statistic of all other variants.
    """
    count = int(present.sum())
    mean = float(differences.sum()) / count
    step = (
        float(np.std(differences[present], ddof=1)) or abs(mean) * NEAR or NEAR
    )  # fallbacks where all differences are equal, or 0
    ends = []
    for sign in (-1, 1):
        inside, outside = 0.0, step
        while (
            kept := _p_of(mean + sign * outside, flips, differences, present, others) >= LEVEL
        ) and outside < 1e6 * step:
            inside, outside = outside, 2 * outside
        for _ in range(HALVINGS if not kept else 0):
            middle = (inside + outside) / 2
            if _p_of(mean + sign * middle, flips, differences, present, others) >= LEVEL:
                inside = middle
            else:
                outside = middle
        ends.append(mean + sign * inside if not kept else sign * float("inf"))
    return ends[0], ends[1]


def _p_of(value: float, flips: Array, differences: Array, present: Array, others: Array) -> float:
    """Compute p of the hypothesis that a variant's difference is `value`, with the others' statistics unchanged."""
    own = _t(flips, np.where(present, differences - value, 0.0), int(present.sum()))
    largest = np.maximum(own, others)
    largest[0] = own[0]
    return float(np.mean(largest >= own[0] * (1 - NEAR)))


def verdict(p: float, low: float, high: float, margin: float | None) -> str:
    """Return the verdict of p and an interval, both corrected for all comparisons; higher is better."""
    if margin is not None and -margin < low and high < margin:
        return "equivalent"
    if p < LEVEL:
        return "worse" if high < 0 else "better"
    if margin is not None and (low > -margin or high < margin):
        return "negligible or better" if low > -margin else "negligible or worse"
    return "inconclusive"
