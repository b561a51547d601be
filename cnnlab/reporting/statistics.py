"""What a study may claim: paired differences over seeds, how sure they are, a verdict that counts all comparisons."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

LEVEL = 0.05
EXACT = 2**14  # sign flips that are all gone through; of more, as many are drawn


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
    import numpy as np
    from scipy import stats

    differences = np.subtract(variant, baseline)
    count, mean = len(differences), float(np.mean(differences))
    if count < 2:
        return Difference(count, mean, None, None, None)
    test = stats.permutation_test(
        (differences,), np.mean, permutation_type="samples", n_resamples=EXACT, vectorized=True, rng=0
    )
    if np.ptp(differences) == 0:
        return Difference(count, mean, mean, mean, float(test.pvalue))
    if count < 3:
        return Difference(count, mean, None, None, float(test.pvalue))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of few distinct values BCa has no acceleration and says so
        interval = stats.bootstrap((differences,), np.mean, method="BCa", rng=0).confidence_interval
    low, high = float(interval.low), float(interval.high)
    known = bool(np.isfinite([low, high]).all())
    return Difference(count, mean, low if known else None, high if known else None, float(test.pvalue))


def seeds_needed(comparisons: int) -> int:
    """The fewest seeds at which a difference of the same sign on every seed gets a corrected p under 0.05."""
    seeds = 1
    while comparisons * 2 / 2**seeds >= LEVEL:
        seeds += 1
    return seeds


def holm(ps: Sequence[float]) -> list[float]:
    """P values corrected for their number, step by step from the smallest (Holm 1979).

    statsmodels has it too, but takes longer to import than a report may.
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
