"""Test whether the best trial of a search beats the others by more than chance."""

from dataclasses import dataclass
from math import comb, sqrt
from statistics import NormalDist, mean, median

import numpy as np
from numpy.typing import NDArray

from cnnlab.reporting.statistics import LEVEL
from cnnlab.reporting.trials import Search, Trial
from cnnlab.runs.answers import read_answers

EXACT = 1000  # images that only one of two trials gets right, up to which a test is exact


@dataclass(frozen=True)
class Chance:
    """The best completed trial against the others; accuracies are fractions."""

    images: int  # number of validation images
    error: float  # binomial standard error of the best accuracy
    median: float  # of the accuracies of all completed trials
    lucky: float  # expected lead of the best over the median if all trials were equally good
    worse: list[Trial]  # significantly worse than the best
    tied: list[Trial]  # not significantly worse
    paired: bool  # whether answers to the same images were compared, not only accuracies


def chance(search: Search) -> Chance | None:
    """Compare the best trial with all others on the validation images; None where there is nothing to compare.

    If all runs kept answers to the same images, by exact tests of McNemar (1947) on the images that only one of two
    trials gets right; else by a normal test of two proportions. P values are corrected for all pairs of trials
    (Bonferroni), since the best was chosen on the same images.
    """
    best, others = search.ranked[:1], search.ranked[1:]
    hits = [_hits(trial) for trial in search.ranked]
    known = [own for own in hits if own is not None]
    images = len(known[0]) if known else search.plan.images if search.plan else 0
    if not best or not others or not images:
        return None
    accuracies = [trial.accuracy or 0.0 for trial in search.ranked]
    error = independent_error = sqrt(accuracies[0] * (1 - accuracies[0]) / images)
    paired = len(known) == len(hits) and len({len(h) for h in known}) == 1 and not any(map(_moves_split, search.space))
    if paired:
        tests = [sign_test(int((known[0] & ~h).sum()), int((h & ~known[0]).sum())) for h in known[1:]]
    else:
        tests = [_proportions_test(accuracies[0], accuracy, images) for accuracy in accuracies[1:]]
    significant = [p * comb(len(hits), 2) < LEVEL for p in tests]
    if paired and not all(significant):  # on the same images only disagreements separate trials
        differ = [float((known[0] != h).mean()) for h, worse in zip(known[1:], significant, strict=True) if not worse]
        independent_error = sqrt(mean(differ) / 2 / images)
    count = len(accuracies)
    return Chance(
        images,
        error,
        median(accuracies),
        independent_error * NormalDist().inv_cdf((count - 0.375) / (count + 0.25)),  # Blom 1958: mean maximum
        [other for other, worse in zip(others, significant, strict=True) if worse],
        [other for other, worse in zip(others, significant, strict=True) if not worse],
        paired,
    )


def _moves_split(key: str) -> bool:
    """Return whether an override may change the validation split."""
    return key.lstrip("+~").startswith("data") and key not in ("data.batch_size", "data.eval_batch_size")


def _hits(trial: Trial) -> NDArray[np.bool_] | None:
    """Return which validation images a trial gets right; None where it kept no answers, or damaged ones."""
    try:
        answers = read_answers(trial.directory) if trial.directory else {}
    except ValueError:
        return None
    return answers["val"].hits if "val" in answers else None


def sign_test(ours: int, theirs: int) -> float:
    """Return the two-sided p of a split this uneven, were both sides equally likely; a normal one beyond EXACT."""
    n, fewer = ours + theirs, min(ours, theirs)
    if n > EXACT:
        return min(1.0, 2 * NormalDist().cdf((2 * fewer + 1 - n) / sqrt(n)))
    return float(min(1.0, 2 * sum(comb(n, k) for k in range(fewer + 1)) / 2**n))


def _proportions_test(a: float, b: float, images: int) -> float:
    """Compute the two-sided p of two accuracies as if each had its own sample of images."""
    error = sqrt((a * (1 - a) + b * (1 - b)) / images)
    return 2 * NormalDist().cdf(-abs(a - b) / error) if error else float(a == b)
