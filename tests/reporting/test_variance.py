"""Sources of the spread are found again in simulated runs whose sources are known."""

import numpy as np
import pytest

from cnnlab.reporting.statistics import paired_difference
from cnnlab.reporting.variance import images_error, sources, with_images


def simulated(rng, runs: int, images: int, of_runs: float, of_images: float) -> np.ndarray:
    """Hits whose chances vary over runs and over images."""
    chance = 0.7 + of_runs * rng.standard_normal((runs, 1)) + of_images * rng.uniform(-1, 1, (1, images))
    return rng.random((runs, images)) < chance


def test_the_finite_part_is_the_binomial_variance_of_each_image():
    rng = np.random.default_rng(0)
    found = [sources(simulated(rng, 8, 2000, 0.0, 0.2)) for _ in range(200)]
    chance = 0.7 + 0.2 * np.linspace(-1, 1, 10001)
    expected = (chance * (1 - chance)).mean() / 2000
    assert np.mean([s.runs**2 for s in found]) == pytest.approx(expected, rel=0.1)  # nothing else moves these runs
    hits = simulated(rng, 400, 500, 0.03, 0.1)
    assert sources(hits).runs ** 2 - sources(hits).finite ** 2 == pytest.approx(0.03**2, rel=0.2)


def test_splits_add_what_runs_on_one_split_do_not_have():
    rng = np.random.default_rng(1)
    found = sources(simulated(rng, 500, 300, 0.05, 0.1), simulated(rng, 500, 300, 0.03, 0.1))
    assert found.seeds is not None
    assert found.split == pytest.approx(0.04, rel=0.2)  # 3, 4, 5
    assert found.runs**2 == pytest.approx(found.seeds**2 + found.split**2)


def test_the_error_of_images_is_that_of_other_images():
    rng = np.random.default_rng(2)
    found = [images_error(simulated(rng, 8, 400, 0.02, 0.25)) for _ in range(200)]
    assert np.sqrt(np.mean(np.square(found))) == pytest.approx(0.25 / np.sqrt(3 * 400), rel=0.05)
    assert images_error(np.ones((8, 50), bool)) == 0


@pytest.mark.slow
def test_the_wide_interval_holds_the_difference_on_all_images_and_the_narrow_one_does_not():
    rng = np.random.default_rng(3)
    narrow = wide = 0
    for _ in range(400):
        # what a variant changes differs from image to image, and little from run to run
        change = 0.02 + 0.3 * rng.uniform(-1, 1, 400)
        base, variant = rng.random((2, 8, 400)) < np.stack([np.full(400, 0.6), 0.6 + change])[:, None]
        difference = paired_difference(variant.mean(1), base.mean(1))
        low, high = with_images(difference, images_error(variant.astype(int) - base))
        narrow += difference.low <= 0.02 <= difference.high
        wide += low <= 0.02 <= high
    assert narrow / 400 < 0.93
    assert 0.93 <= wide / 400 <= 0.99
