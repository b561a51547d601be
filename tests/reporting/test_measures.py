"""Cross-validation's statistics, and measures that are no accuracy."""

import math

import numpy as np
import pytest

from cnnlab.reporting.folds import compare_by_folds, corrected
from cnnlab.reporting.measure import judged, written
from cnnlab.reporting.statistics import Judgement
from cnnlab.reporting.student import t_quantile, t_tail
from cnnlab.runs.metrics import Measure


@pytest.mark.parametrize("freedom", [1, 2, 4, 9, 30, 999])
def test_students_distribution_is_that_of_scipy(freedom):
    stats = pytest.importorskip("scipy.stats")
    for t in (0.0, 1e-4, 0.3, 1.0, 2.0, 7.0, 1e3):
        assert t_tail(t, freedom) == pytest.approx(2 * stats.t.sf(t, freedom), rel=1e-11, abs=1e-300)
    for p in (0.9, 0.5, 0.05, 0.05 / 12, 1e-6):
        assert t_quantile(p, freedom) == pytest.approx(stats.t.isf(p / 2, freedom), rel=1e-10)
    assert t_tail(1e-8, 1) == pytest.approx(1 - 2 / math.pi * 1e-8, abs=1e-16)


def test_the_interval_is_that_of_nadeau_and_bengio():
    stats = pytest.importorskip("scipy.stats")
    differences = np.array([0.02, 0.01, 0.04, 0.00, 0.03])
    scale = math.sqrt((1 / 5 + 200 / 800) * differences.var(ddof=1))
    low, high = stats.t.interval(0.95, 4, loc=differences.mean(), scale=scale)
    p, *ends = corrected(list(differences), 1 / 4)
    assert ends == pytest.approx([low, high])
    assert p == pytest.approx(2 * stats.t.sf(differences.mean() / scale, 4))
    # 0 lies in the interval exactly where p is at least 0.05, for three comparisons too
    for shift in np.linspace(-0.1, 0.1, 401):
        for comparisons in (1, 3):
            p, low, high = corrected(list(differences + shift), 1 / 4, comparisons)
            assert (p >= 0.05) == (low <= 0 <= high)
    assert corrected([0.1, 0.1], 1) == (0.0, 0.1, 0.1)
    assert corrected([0.0, 0.0], 1) == (1.0, 0.0, 0.0)


def rows(values, seeds=(0, 1)):
    """Runs of a variant: a value for each fold is the mean over seeds, which are apart by how high it is."""
    middle = sum(seeds) / len(seeds)
    return [{"seed": s, "fold": f, "val/acc": v + v**2 * (s - middle)} for s in seeds for f, v in enumerate(values)]


def test_seeds_are_averaged_within_folds_and_missing_runs_left_out():
    base, other = [0.9, 0.8, 0.85, 0.9, 0.95], [0.92, 0.81, 0.88, 0.9, 0.97]
    wanted = corrected([b - a for a, b in zip(base, other, strict=True)], 1 / 4)
    for seeds in ((0,), (0, 1, 2)):
        ((difference, judgement),) = compare_by_folds(rows(base, seeds), [rows(other, seeds)], "val/acc", 5, None)
        assert (difference.p, difference.low, difference.high) == pytest.approx(wanted)
        assert (judgement.p, difference.seeds) == (difference.p, 5)
    found = compare_by_folds(rows(base), [rows(other), rows(other[:1]), [], rows(base)], "val/acc", 5, 0.1)
    whole, single, none, same = found
    assert whole[1].p == pytest.approx(2 * wanted[0])  # two variants can be judged
    assert (whole[1].verdict, single[1].verdict, none, same[1].verdict) == (
        "equivalent", "too few folds", (None, None), "equivalent"
    )  # fmt: skip
    assert (same[0].mean, same[1].p) == (0, 1)


def test_where_lower_is_better_verdicts_turn_and_numbers_stay():
    loss, accuracy = Measure("test/loss", False, False), Measure("test/acc")
    turned = {"better": "worse", "worse": "better", "negligible or worse": "negligible or better"}
    for said in ("better", "worse", "negligible or worse", "equivalent", "inconclusive", "too few seeds"):
        judgement = Judgement(0.01, -0.2, -0.1, said)
        assert judged(loss, judgement) == Judgement(0.01, -0.2, -0.1, turned.get(said, said))
        assert judged(accuracy, judgement) == judgement
    assert (written(loss).signed(0.0123), written(accuracy).signed(0.0123)) == ("+0.0123", "+1.23")
    assert written(Measure("val/calibration_error", False, False)).column == "val calibration_error (lower is better)"
