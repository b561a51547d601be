"""Judge cross-validated differences by the corrected resampled t test of Nadeau & Bengio (2003).

Any two folds share most of their training examples, so that their differences are not independent, and the usual t test
finds differences where there are none. The paper puts the variance of the mean of k folds at (1/k + n_test/n_train)
times the variance over folds, in place of 1/k; for k-fold cross-validation n_test/n_train is 1 / (k - 1). The seeds of
a fold are averaged first: they share its examples, training and held out, and are no independent observations.
"""

from collections.abc import Mapping, Sequence
from math import sqrt
from statistics import mean, stdev
from typing import Any

from cnnlab.reporting.statistics import LEVEL, Difference, Judgement, verdict
from cnnlab.reporting.student import t_quantile, t_tail

FEWEST = 2  # folds for which there is a variance
Row = Mapping[str, Any]


def compare_by_folds(
    reference: Sequence[Row], others: Sequence[Sequence[Row]], metric: str, folds: int, margin: float | None
) -> list[tuple[Difference | None, Judgement | None]]:
    """Compare variants with a baseline on rows of completed runs: each alone, and judged with all variants together."""
    baseline = {(row["seed"], row["fold"]): row[metric] for row in reference}
    found = [_by_fold(baseline, {(row["seed"], row["fold"]): row[metric] for row in rows}) for rows in others]
    compared = sum(len(differences) >= FEWEST for differences in found)
    return [_judged(differences, folds, compared, margin) for differences in found]


def _by_fold(baseline: Mapping[tuple[int, int], float], variant: Mapping[tuple[int, int], float]) -> list[float]:
    """Return the mean difference of each fold, over the seeds that both have."""
    by_fold: dict[int, list[float]] = {}
    for run in sorted(variant.keys() & baseline.keys()):
        by_fold.setdefault(run[1], []).append(variant[run] - baseline[run])
    return [mean(differences) for differences in by_fold.values()]


def _judged(
    differences: Sequence[float], folds: int, compared: int, margin: float | None
) -> tuple[Difference | None, Judgement | None]:
    if not differences:
        return None, None
    if len(differences) < FEWEST:
        too_few = Judgement(None, None, None, "too few folds")
        return Difference(len(differences), mean(differences), None, None, None), too_few
    p, low, high = corrected(differences, 1 / (folds - 1))
    difference = Difference(len(differences), mean(differences), low, high, p)
    p, low, high = corrected(differences, 1 / (folds - 1), compared)
    return difference, Judgement(p, low, high, verdict(p, low, high, margin))


def corrected(differences: Sequence[float], ratio: float, comparisons: int = 1) -> tuple[float, float, float]:
    """Return p and the ends of the 95 % interval of a mean over folds.

    Args:
        differences: of each fold, two or more.
        ratio: held-out examples per training example.
        comparisons: number of comparisons; p and interval hold for all of them (Bonferroni), so that 0 lies in the
            interval exactly where p is at least 0.05.
    """
    count, centre = len(differences), mean(differences)
    error = stdev(differences) * sqrt(1 / count + ratio)
    if error == 0:
        return float(centre == 0), centre, centre
    p = min(1.0, comparisons * t_tail(centre / error, count - 1))
    reach = t_quantile(LEVEL / comparisons, count - 1) * error
    return p, centre - reach, centre + reach


def fold_remarks(baseline: str, measured: str, unit: str, folds: int, seeds: int) -> str:
    """Explain how to read a cross-validated study; `unit` names the unit of differences, as a suffix to a sentence."""
    average = f", averaged over {seeds} seeds in each fold" if seeds > 1 else ""
    return (
        f"Cross-validation: the training images were cut into {folds} folds, the same ones for every variant; each run "
        f"was trained without one of them and validated on it. {measured}, mean and standard deviation (sd) over all "
        f"runs; the checkpoint was chosen on the same images, which makes the values of all variants a little too "
        f"good. Differences from {baseline} are paired by fold{average}{unit}. The 95 % interval and p are those of "
        f"the corrected resampled t test (Nadeau & Bengio 2003) with {folds - 1} degrees of freedom: folds share "
        f"training images, so that the variance over k folds counts (1/k + 1/(k-1)) times, not 1/k times. The interval "
        f"for all and the p beside it count all variants (Bonferroni); the verdict is theirs. Test figures, where "
        f"there are any, are of one test set for all folds and play no part."
    )
