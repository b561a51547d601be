"""What a study may claim."""

import itertools

import numpy as np
import pytest

from cnnlab.reporting.statistics import Difference, Judgement, judge, needed, paired_difference, seeds_needed


def p_of(differences):
    """By definition: all sign flips, one after the other."""
    flips = [abs(np.dot(differences, signs)) for signs in itertools.product([1, -1], repeat=len(differences))]
    return np.mean(np.array(flips) >= abs(np.sum(differences)) - 1e-9)


@pytest.mark.parametrize("count", [2, 5, 6, 9, 12])
def test_p_is_the_share_of_sign_flips_that_are_as_extreme(count):
    rng = np.random.default_rng(count)
    for _ in range(5):
        differences = np.round(rng.normal(0.5, 1, count), 1)  # with ties
        found = paired_difference(differences + 3, np.full(count, 3.0))
        assert found.p == pytest.approx(p_of(differences))
        assert found.mean == pytest.approx(differences.mean())


@pytest.mark.parametrize("count", [6, 7, 8, 12])
def test_the_interval_holds_what_the_test_does_not_reject(count):
    rng = np.random.default_rng(count)
    for _ in range(5):
        differences = rng.normal(0.3, 1, count)
        found = paired_difference(differences, np.zeros(count))
        width = found.high - found.low
        for end, outward in ((found.low, -1), (found.high, 1)):
            assert p_of(differences - (end - outward * 1e-6 * width)) >= 0.05
            assert p_of(differences - (end + outward * 1e-6 * width)) < 0.05


@pytest.mark.parametrize("count", [6, 8, 12, 14, 20])
def test_0_lies_in_an_interval_exactly_where_p_is_at_least_5_percent(count):
    rng = np.random.default_rng(count)
    for _ in range(60):
        table = np.round(rng.normal(size=(count, 3)) + rng.normal(0.6, 0.8, 3), 1)
        for differences, judgement in zip(table.T, judge(table), strict=True):
            found = paired_difference(differences, np.zeros(count))
            assert (found.low <= 0 <= found.high) == (found.p >= 0.05)
            assert (judgement.low <= 0 <= judgement.high) == (judgement.p >= 0.05)
            assert judgement.p >= found.p - 1e-12 or count > 14


@pytest.mark.parametrize("count", [8, 20])
def test_p_is_that_of_scipy(count):
    stats = pytest.importorskip("scipy.stats")
    values = np.random.default_rng(count).exponential(1, count) - 0.3
    test = stats.permutation_test((values,), np.mean, permutation_type="samples", n_resamples=2**14, rng=0)
    assert paired_difference(values, np.zeros(count)).p == pytest.approx(test.pvalue, rel=1e-9 if count <= 14 else 0.2)


def test_one_variant_alone_is_judged_as_by_itself():
    differences = np.random.default_rng(0).normal(0.4, 1, 9)
    found, (judgement,) = paired_difference(differences, np.zeros(9)), judge(differences[:, None])
    assert judgement.p == pytest.approx(found.p)
    assert (judgement.low, judgement.high) == pytest.approx((found.low, found.high), abs=1e-6)


def test_the_smallest_p_is_two_over_two_to_the_n():
    assert paired_difference([0.9] * 7 + [0.91], [0.95] * 8).p == pytest.approx(2 / 2**8)


def test_degenerate_samples_are_said_plainly():
    assert paired_difference([0.9], [0.8]).p is None
    five = paired_difference([0.9, 0.8, 0.7, 0.9, 0.95], [0.6] * 5)
    assert (five.low, five.high, five.p) == (None, None, 2 / 2**5)
    same = paired_difference([0.9] * 8, [0.9] * 8)
    assert (same.mean, same.low, same.high, same.p) == (0, 0, 0, 1)
    (judgement,) = judge(np.zeros((8, 1)))
    assert (judgement.p, judgement.verdict) == (1, "inconclusive")
    (shifted,) = judge(np.full((8, 1), -0.01))
    assert shifted.verdict == "worse"
    assert judge(np.zeros((0, 0))) == judge(np.zeros((8, 0))) == []


def test_six_seeds_are_needed_however_many_variants():
    assert seeds_needed() == 6
    table = np.random.default_rng(0).normal(5, 0.1, (6, 20))
    assert {judgement.verdict for judgement in judge(table)} == {"better"}
    assert {judgement.verdict for judgement in judge(table[:5])} == {"too few seeds"}


def step_down(table):
    """Step-down max-T (Westfall & Young 1993) as the book has it: all flips, t statistics one by one."""
    seeds, variants = table.shape

    def statistics(values):
        means, deviations = values.mean(0), values.std(0, ddof=1)
        return np.abs(means) / deviations * np.sqrt(seeds)

    seen = statistics(table)
    order = sorted(range(variants), key=lambda v: -seen[v])
    hits = np.zeros(variants)
    for signs in itertools.product([1, -1], repeat=seeds):
        drawn = statistics(table * np.array(signs)[:, None])
        for rank, v in enumerate(order):
            hits[v] += max(drawn[w] for w in order[rank:]) >= seen[v] - 1e-9
    ps, floor = np.empty(variants), 0.0
    for v in order:
        floor = max(floor, hits[v] / 2**seeds)
        ps[v] = floor
    return ps


@pytest.mark.parametrize("seed", range(4))
def test_corrected_p_is_that_of_an_independent_implementation(seed):
    rng = np.random.default_rng(seed)
    table = rng.normal(size=(7, 5)) + rng.normal(size=(7, 1)) + np.array([2, 1, 0.5, 0, 0])
    assert [j.p for j in judge(table)] == pytest.approx(step_down(table))


def draws(rng, seeds, variants, dependence):
    own = rng.normal(size=(seeds, variants))
    if dependence == "common":
        return 0.7 * own + 0.7 * rng.normal(size=(seeds, 1))
    return own * rng.exponential(size=(seeds, 1)) if dependence == "noisy seeds" else own


@pytest.mark.parametrize("dependence", ["none", "common", "noisy seeds"])
def test_nothing_is_found_where_nothing_is_and_what_is_there_is_found(dependence):
    rng = np.random.default_rng(1)
    rounds = 150
    tables = [draws(rng, 8, 6, dependence) for _ in range(rounds)]
    wrong = sum(any(j.verdict in ("worse", "better") for j in judge(table)) for table in tables)
    assert wrong / rounds <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / rounds)
    effect = np.array([-4.0, 0, 0, 0, 0, 0])
    found = [judge(table + effect) for table in tables[:50]]
    assert np.mean([f[0].verdict == "worse" for f in found]) > 0.8
    covered = [all(j.low <= e <= j.high for j, e in zip(f, effect, strict=True)) for f in found]
    assert np.mean(covered) >= 0.95 - 3 * np.sqrt(0.05 * 0.95 / 50)


def test_the_interval_of_the_mean_covers_as_often_as_it_says():
    rng = np.random.default_rng(0)
    for count in (8, 12):
        for draw in (rng.standard_normal, lambda n: rng.standard_t(3, n)):
            found = [paired_difference(draw(count) + 0.5, np.zeros(count)) for _ in range(300)]
            assert abs(np.mean([d.low <= 0.5 <= d.high for d in found]) - 0.95) < 3 * np.sqrt(0.95 * 0.05 / 300)


def test_missing_runs_are_left_out_of_their_variant_only():
    table = np.random.default_rng(3).normal(1.5, 1, (9, 2))
    table[7:, 1] = np.nan
    both, whole = judge(table), judge(table[:, :1])
    assert both[1].p is not None
    assert both[0].low <= whole[0].low < whole[0].high <= both[0].high + 1e-9
    table[5:, 1] = np.nan
    assert judge(table)[1].verdict == "too few seeds"


def test_a_variant_that_is_the_baseline_differs_by_nothing():
    table = np.random.default_rng(0).normal(-1, 0.1, (8, 2))
    table[:, 1] = 0
    same = judge(table, 0.01)[1]
    assert (same.p, same.verdict) == (1, "equivalent")
    assert -1e-9 < same.low <= 0 <= same.high < 1e-9


def test_a_variant_of_too_few_seeds_does_not_spoil_the_verdicts_on_others():
    table = np.random.default_rng(0).normal(-1, 0.1, (8, 3))
    table[:, 1] += 1
    half_done = table.copy()
    half_done[3:, 2] = np.nan  # whose three differences of one sign are as extreme under a quarter of all flips
    assert judge(half_done)[:2] == judge(table[:, :2])
    assert [j.verdict for j in judge(half_done)] == ["worse", "inconclusive", "too few seeds"]


@pytest.mark.parametrize(
    ("mean", "margin", "verdict"),
    [
        (0.0, None, "inconclusive"),
        (0.0, 3.0, "equivalent"),
        (0.9, 5.0, "equivalent"),
        (0.4, 0.7, "negligible or better"),
        (-0.4, 0.7, "negligible or worse"),
        (0.0, 0.1, "inconclusive"),
        (4.0, 0.5, "better"),
        (-4.0, 0.5, "worse"),
    ],
)
def test_a_margin_tells_equivalent_from_unknown(mean, margin, verdict):
    table = np.random.default_rng(0).normal(0, 1, (10, 1))
    table += mean - table.mean()
    assert judge(table, margin)[0].verdict == verdict


def test_how_many_seeds_would_decide():
    wide = Judgement(0.3, -0.3, 0.5, "inconclusive")
    assert needed(Difference(8, 0.1, -0.2, 0.4, 0.2), wide) == 129
    assert needed(Difference(8, 0.1, -0.2, 0.4, 0.2), wide, margin=0.5) == 9
    assert needed(Difference(8, 0.0, -0.2, 0.4, 0.2), wide) > 1000
