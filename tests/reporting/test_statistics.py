"""What a study may claim."""

import itertools

import numpy as np
import pytest

from cnnlab.reporting.statistics import Difference, holm, paired_difference, seeds_needed, verdicts


def test_the_p_value_is_that_of_all_sign_flips():
    variant, baseline = [0.91, 0.90, 0.93, 0.92, 0.90], [0.90, 0.92, 0.89, 0.90, 0.89]
    differences = np.subtract(variant, baseline)
    flips = [abs(np.mean(differences * signs)) for signs in itertools.product([1, -1], repeat=5)]
    expected = np.mean(np.array(flips) >= abs(differences.mean()) - 1e-12)
    found = paired_difference(variant, baseline)
    assert found.p == pytest.approx(expected)
    assert found.mean == pytest.approx(differences.mean())
    assert found.low < found.mean < found.high


def test_the_smallest_p_is_two_over_two_to_the_n():
    assert paired_difference([0.9] * 7 + [0.91], [0.95] * 8).p == pytest.approx(2 / 2**8)


def test_the_interval_covers_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(0)
    covered = [
        d.low <= 0.5 <= d.high for d in (paired_difference(rng.normal(0.5, 1, 30), np.zeros(30)) for _ in range(60))
    ]
    assert 0.85 <= np.mean(covered) <= 1


@pytest.mark.parametrize("count", [3, 4, 5, 8, 14, 20])
def test_interval_and_p_are_those_of_scipy(count):
    stats = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(count)
    values = rng.exponential(1, count) - 0.3
    found = paired_difference(values, np.zeros(count))
    theirs = stats.bootstrap((values,), np.mean, method="BCa", rng=0).confidence_interval
    assert (found.low, found.high) == pytest.approx(tuple(theirs), abs=0.04 * (theirs.high - theirs.low))
    test = stats.permutation_test((values,), np.mean, permutation_type="samples", n_resamples=2**14, rng=0)
    assert found.p == pytest.approx(test.pvalue, rel=1e-9 if count <= 14 else 0.2)


def test_degenerate_samples_are_said_plainly():
    assert paired_difference([0.9], [0.8]).p is None
    two = paired_difference([0.9, 0.8], [0.8, 0.8])
    assert (two.low, two.high) == (None, None)
    same = paired_difference([0.9] * 4, [0.9] * 4)
    assert (same.mean, same.low, same.high, same.p) == (0, 0, 0, 1)


def test_seeds_needed_is_the_rule_of_the_docs():
    assert [seeds_needed(m) for m in (1, 2, 4, 6, 7, 13)] == [6, 7, 8, 8, 9, 10]
    for m in range(1, 40):
        n = seeds_needed(m)
        assert m * 2 / 2**n < 0.05 <= m * 2 / 2 ** (n - 1)


def test_verdicts_count_all_comparisons_and_need_seeds():
    def difference(mean: float, p: float, seeds: int = 8) -> Difference:
        return Difference(seeds, mean, None, None, p)

    found = verdicts([difference(-0.1, 0.0078), difference(0.1, 0.0079), difference(0.1, 0.03), difference(0.1, 0.9)])
    assert [v for _, v in found] == ["worse", "better", "inconclusive", "inconclusive"]
    assert [p for p, _ in found] == pytest.approx([4 * 0.0078, 4 * 0.0078, 0.06, 0.9])
    assert verdicts([difference(-0.1, 0.03, seeds=5)])[0][1] == "too few seeds"


@pytest.mark.parametrize("seed", range(20))
def test_holm_is_that_of_statsmodels(seed):
    from statsmodels.stats.multitest import multipletests

    rng = np.random.default_rng(seed)
    ps = rng.choice([0.001, 0.01, 0.03, 0.2, 0.9, 1.0], rng.integers(1, 14)).tolist()
    assert holm(ps) == pytest.approx(multipletests(ps, 0.05, method="holm")[1].tolist(), abs=1e-12)
