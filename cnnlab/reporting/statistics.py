"""What a study may claim: paired differences over seeds, how sure they are, a verdict that counts all comparisons."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

LEVEL = 0.05
EXACT = 2**14  # sign flips that are all gone through; of more, as many are drawn
RESAMPLES = 9999  # of a bootstrap


@dataclass(frozen=True)
class Difference:
    """Of a variant from the baseline, over the seeds that both have."""

    seeds: int
    mean: float
    low: float | None  # 95 % interval, BCa bootstrap (Efron 1987)
    high: float | None
    p: float | None  # of a sign-flip test, exact up to 14 seeds


def paired_difference(variant: Sequence[float], baseline: Sequence[float]) -> Difference:
    """The mean of the differences, seed by seed; without an interval below three seeds, where there is none to find."""
    differences = np.subtract(variant, baseline)
    count, mean = len(differences), float(np.mean(differences))
    if count < 2:
        return Difference(count, mean, None, None, None)
    p = sign_flip_p(differences)
    if np.ptp(differences) == 0:
        return Difference(count, mean, mean, mean, p)
    low, high = bca_interval(differences) if count > 2 else (None, None)
    return Difference(count, mean, low, high, p)


# scipy.stats has both of these, but takes longer to import than a report may


def sign_flip_p(differences: np.ndarray) -> float:
    """How often a mean as far from 0 comes about where each sign is a coin's; exact up to 14 differences."""
    count = len(differences)
    if 2**count <= EXACT:
        signs = 1 - 2 * (np.arange(2**count)[:, None] >> np.arange(count) & 1)
    else:
        drawn = np.random.default_rng(0).choice([-1, 1], (EXACT, count))
        signs = np.concatenate([drawn, np.ones((1, count))])  # what was seen is one of the ways
    sums, seen = abs(signs @ differences), abs(differences.sum())
    return float(np.mean(sums >= seen * (1 - 1e-12)))


def bca_interval(values: np.ndarray) -> tuple[float, float] | tuple[None, None]:
    """95 % interval of the mean: the bootstrap's percentiles, corrected for bias and skew (Efron 1987).

    None where the correction cannot be had, of too few distinct values.
    """
    normal, count = NormalDist(), len(values)
    means = np.random.default_rng(0).choice(values, (RESAMPLES, count)).mean(1)
    below = float(np.mean(means < values.mean()) + np.mean(means <= values.mean())) / 2
    left_out = (values.sum() - values) / (count - 1)
    pull = left_out.mean() - left_out
    spread = float(np.sum(pull**2))
    if not 0 < below < 1 or spread == 0:
        return None, None
    bias, skew = normal.inv_cdf(below), float(np.sum(pull**3)) / (6 * spread**1.5)
    ends = [bias + normal.inv_cdf(p) for p in (LEVEL / 2, 1 - LEVEL / 2)]
    low, high = np.quantile(means, [normal.cdf(bias + z / (1 - skew * z)) for z in ends])
    return float(low), float(high)


def seeds_needed(comparisons: int) -> int:
    """The fewest seeds at which a difference of the same sign on every seed gets a corrected p under 0.05."""
    seeds = 1
    while comparisons * 2 / 2**seeds >= LEVEL:
        seeds += 1
    return seeds


def holm(ps: Sequence[float]) -> list[float]:
    """P values corrected for their number, step by step from the smallest (Holm 1979).

    As slow to import: statsmodels, which has it too.
    """
    corrected, floor = [0.0] * len(ps), 0.0
    for rank, index in enumerate(sorted(range(len(ps)), key=ps.__getitem__)):
        floor = max(floor, min(1.0, ps[index] * (len(ps) - rank)))
        corrected[index] = floor
    return corrected


def verdicts(differences: Sequence[Difference]) -> list[tuple[float | None, str]]:
    """Holm-corrected p and a verdict for each: worse or better where it is under 0.05."""
    corrected = iter(holm([d.p for d in differences if d.p is not None]))
    answers: list[tuple[float | None, str]] = []
    for difference in differences:
        p = next(corrected) if difference.p is not None else None
        if difference.seeds < seeds_needed(len(differences)):
            answers.append((p, "too few seeds"))
        elif p is not None and p < LEVEL:
            answers.append((p, "worse" if difference.mean < 0 else "better"))
        else:
            answers.append((p, "inconclusive"))
    return answers
