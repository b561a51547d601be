"""Attribute the spread of accuracies to its sources: seeds, validation splits, and a finite number of images."""

from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from cnnlab.reporting.statistics import Difference

Z = 1.959964  # two-sided 95 % quantile of the standard normal distribution


@dataclass(frozen=True)
class Sources:
    """Standard deviations of the accuracy of one trained network, as fractions."""

    runs: float  # over the runs of a variant
    finite: float  # the part of `runs` that infinitely many images would remove
    images: float  # of the mean accuracy over runs, from the choice of images
    seeds: float | None = None  # over runs on one validation split; None where all runs share one
    split: float | None = None  # added by a split for each run; None where all runs share one


def sources(hits: NDArray[np.bool_], one_split: NDArray[np.bool_] | None = None) -> Sources:
    """Split the spread of a variant's accuracy (Bouthillier et al. 2021; Jordan 2023, arXiv 2304.01910).

    A newly trained network gets image i right with a probability p_i. Were these events independent, the accuracy over
    N images would have the variance sum_i p_i (1 - p_i) / N^2 over runs: that part falls with N, the rest does not.

    Args:
        hits: (runs, N), of at least two runs.
        one_split: (runs, N) of runs that share a validation split, where each run of `hits` has its own.
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
    """Return the standard error, from the choice of images, of a mean over runs and images.

    Runs and images are crossed random effects with one observation for each pair: the variance between images is that
    of their means over runs, less the share of the residual variance.

    Args:
        values: (runs, N), hits or differences of hits.
    """
    values = values.astype(np.float32)
    runs, n = values.shape
    means = values.mean(0, dtype=np.float64)
    between = means.var(ddof=1)
    if runs == 1:
        return sqrt(between / n)
    residual = values - means - values.mean(1, keepdims=True) + means.mean()
    within = float(np.square(residual).sum(dtype=np.float64)) / ((runs - 1) * (n - 1))
    return sqrt(max(0.0, between - within / runs) / n)


def with_images(difference: Difference, error: float) -> tuple[float, float] | None:
    """Return a difference's 95 % interval with the images as a sample, too; None where it has no interval over seeds.

    Half-widths add in quadrature: the one over seeds, and a normal one for the choice of images.

    Args:
        difference: with its interval over seeds.
        error: `images_error` of the differences of hits.
    """
    if difference.low is None or difference.high is None:
        return None
    mean = difference.mean
    low, high = (sqrt(side**2 + (Z * error) ** 2) for side in (mean - difference.low, difference.high - mean))
    return mean - low, mean + high
