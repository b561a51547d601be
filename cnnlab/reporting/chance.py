"""How far the best trial of a search is from chance: on so many validation images, one trial is the best anyway."""

from dataclasses import dataclass
from math import comb, sqrt
from statistics import NormalDist, mean, median

import numpy as np
from numpy.typing import NDArray

from cnnlab.reporting.statistics import LEVEL
from cnnlab.reporting.trials import Search, Trial
from cnnlab.runs.answers import read_answers

EXACT = 1000  # images that two trials answer differently, up to which a test is exact


@dataclass(frozen=True)
class Chance:
    """The best completed trial among the others; accuracies are fractions."""

    images: int  # for validation
    error: float  # standard error of the best accuracy, that of a binomial share of these images
    median: float  # of the accuracies of all completed trials
    lucky: float  # how far above their median the best of as many equally good trials would be expected
    worse: list[Trial]  # than the best, beyond chance
    tied: list[Trial]  # that cannot be told from the best
    paired: bool  # whether the answers to the same images were compared, and not only accuracies


def chance(search: Search) -> Chance | None:
    """Compare the best trial with all others on the validation images; None where that cannot be.

    Where all runs kept their answers to the same images, by exact tests of McNemar (1947) on the images that only one
    of two trials has right; else by the normal difference of two binomial shares. P values count all pairs of trials
    (Bonferroni), since which one is the best was seen on the same images.
    """
    best, others = search.ranked[:1], search.ranked[1:]
    hits = [_hits(trial) for trial in search.ranked]
    known = [own for own in hits if own is not None]
    images = len(known[0]) if known else search.plan.images if search.plan else 0
    if not best or not others or not images:
        return None
    accuracies = [trial.accuracy or 0.0 for trial in search.ranked]
    error = own = sqrt(accuracies[0] * (1 - accuracies[0]) / images)
    paired = len(known) == len(hits) and len({len(h) for h in known}) == 1 and not any(map(_splits, search.space))
    if paired:
        tests = [sign_test(int((known[0] & ~h).sum()), int((h & ~known[0]).sum())) for h in known[1:]]
    else:
        tests = [_shares_test(accuracies[0], accuracy, images) for accuracy in accuracies[1:]]
    apart = [p * comb(len(hits), 2) < LEVEL for p in tests]
    if paired and not all(apart):  # of accuracies on the same images, what trials as good as the best do not share
        differ = [float((known[0] != h).mean()) for h, far in zip(known[1:], apart, strict=True) if not far]
        own = sqrt(mean(differ) / 2 / images)
    count = len(accuracies)
    return Chance(
        images,
        error,
        median(accuracies),
        own * NormalDist().inv_cdf((count - 0.375) / (count + 0.25)),  # mean of the largest of so many (Blom 1958)
        [other for other, far in zip(others, apart, strict=True) if far],
        [other for other, far in zip(others, apart, strict=True) if not far],
        paired,
    )


def _splits(key: str) -> bool:
    """Whether a key may decide which images are for validation."""
    return key.lstrip("+~").startswith("data") and key not in ("data.batch_size", "data.eval_batch_size")


def _hits(trial: Trial) -> NDArray[np.bool_] | None:
    """Which validation images a trial has right; None where it kept no answers, or damaged ones."""
    try:
        answers = read_answers(trial.directory) if trial.directory else {}
    except ValueError:
        return None
    return answers["val"].hits if "val" in answers else None


def sign_test(ours: int, theirs: int) -> float:
    """Return the two-sided p of as uneven a split, were both sides as likely; beyond EXACT by a normal distribution."""
    n, fewer = ours + theirs, min(ours, theirs)
    if n > EXACT:
        return min(1.0, 2 * NormalDist().cdf((2 * fewer + 1 - n) / sqrt(n)))
    return float(min(1.0, 2 * sum(comb(n, k) for k in range(fewer + 1)) / 2**n))


def _shares_test(a: float, b: float, images: int) -> float:
    """Compute p of the difference of two shares of as many images each, as if they were others for each."""
    error = sqrt((a * (1 - a) + b * (1 - b)) / images)
    return 2 * NormalDist().cdf(-abs(a - b) / error) if error else float(a == b)
