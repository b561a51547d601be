"""Where the spread of accuracies comes from: seeds, validation splits, and the finite number of test images."""

from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from cnnlab.reporting.statistics import Difference

Z = 1.959964  # of a standard normal, two-sided 95 %


@dataclass(frozen=True)
class Sources:
    """Standard deviations of the accuracy of one trained network, as fractions."""

    runs: float  # over the runs of a variant, as seen
    finite: float  # the part of `runs` that endless test images would not show
    images: float  # of the mean accuracy over runs, if other test images were drawn
    seeds: float | None = None  # over runs that share one validation split; None where all runs do
    split: float | None = None  # what a split of its own for each run adds; None where there is one for all


def sources(hits: NDArray[np.bool_], one_split: NDArray[np.bool_] | None = None) -> Sources:
    """Split the spread of a variant's accuracy (Bouthillier et al. 2021; Jordan 2023, arXiv 2304.01910).

    Whether a network that was trained once more is right about an image is a matter of chance with a probability of the
    image's own. Were the images' chances independent, the accuracy over N images would have the variance
    sum_i p_i (1 - p_i) / N^2 over runs: that part falls with N, the rest does not.

    Args:
        hits: (runs, N), of at least two runs.
        one_split: (runs, N) of runs on one validation split, where those of `hits` have one each.
    """
    accuracy = hits.mean(1)
    runs = accuracy.var(ddof=1)
    finite = hits.var(0, ddof=1).sum() / hits.shape[1] ** 2
    seeds = split = None
    if one_split is not None and len(one_split) > 1:
        seeds = one_split.mean(1).var(ddof=1)
        split = max(0.0, runs - seeds)
    return Sources(
        sqrt(runs),
        sqrt(min(runs, finite)),
        images_error(hits),
        None if seeds is None else sqrt(seeds),
        None if split is None else sqrt(split),
    )


def images_error(values: NDArray[np.generic]) -> float:
    """Return the standard error of a mean over runs and images that is due to the choice of the images.

    Runs and images are crossed: the images' part is the variance of their means over runs less what runs alone put
    there (a two-way layout with random effects, one observation for each pair).

    Args:
        values: (runs, N), hits or differences of hits.
    """
    values = values.astype(np.float32)
    runs, n = values.shape
    means = values.mean(0, dtype=np.float64)
    between = means.var(ddof=1)
    if runs == 1:
        return sqrt(between / n)
    rest = values - means - values.mean(1, keepdims=True) + means.mean()
    within = float(np.square(rest).sum(dtype=np.float64)) / ((runs - 1) * (n - 1))
    return sqrt(max(0.0, between - within / runs) / n)


def with_images(difference: Difference, error: float) -> tuple[float, float] | None:
    """Return the 95 % interval of a difference that takes the test images as a sample, too; None without one of seeds.

    The squares of both half-widths are added: that over seeds, and the normal one of the images.

    Args:
        difference: with its interval over seeds.
        error: of the images, as `images_error` gives it for differences of hits.
    """
    if difference.low is None or difference.high is None:
        return None
    mean = difference.mean
    low, high = (sqrt(side**2 + (Z * error) ** 2) for side in (mean - difference.low, difference.high - mean))
    return mean - low, mean + high
