"""Effects and Shapley values against what they are defined as."""

from itertools import combinations, permutations

import numpy as np
import pytest

from cnnlab.reporting.interactions import effects, shapley


def game(count: int, seeds: int = 8) -> dict[frozenset[int], np.ndarray]:
    rng = np.random.default_rng(0)
    subsets = [frozenset(s) for size in range(count + 1) for s in combinations(range(count), size)]
    return {subset: rng.normal(0.9, 0.05, seeds) for subset in subsets}


def test_effects_are_the_coefficients_of_a_regression_on_all_subsets():
    cells = game(3)
    sets = [s for s in cells if s]
    subsets = list(cells)
    # coded -1 where a group is there and 1 where it is gone, an effect of order n is 2^n times the coefficient
    design = np.array([[np.prod([1 if i in s else -1 for i in term]) for term in subsets] for s in subsets])
    coefficients = np.linalg.solve(design, np.array([cells[s] for s in subsets]))
    for effect in effects(cells, sets, full=True):
        expected = 2 ** len(effect.groups) * coefficients[subsets.index(effect.groups)].mean()
        assert effect.mean == pytest.approx(expected)
        assert effect.judgement.low <= effect.mean <= effect.judgement.high


def test_shapley_values_are_means_over_all_orders_and_add_up():
    cells = game(3)
    values = shapley(cells, 3)
    for group, found in enumerate(values):
        gains = []
        for order in permutations(range(3)):
            before = set(order[: order.index(group)])  # added before it; all others are still gone
            gone = frozenset(range(3)) - before
            gains.append((cells[gone - {group}] - cells[gone]).mean())
        assert found.mean == pytest.approx(np.mean(gains))
    assert sum(v.mean for v in values) == pytest.approx((cells[frozenset()] - cells[frozenset(range(3))]).mean())


def test_a_pair_that_is_missing_costs_its_row_only():
    cells = game(3)
    del cells[frozenset({0, 1})], cells[frozenset({0, 1, 2})]
    pairs = [frozenset(p) for p in combinations(range(3), 2)]
    found = effects(cells, pairs, full=False)
    assert [effect.groups for effect in found] == pairs[1:]
    first = cells[frozenset({0, 2})] - cells[frozenset({0})] - cells[frozenset({2})] + cells[frozenset()]
    assert found[0].mean == pytest.approx(first.mean())


@pytest.mark.slow
def test_a_factorial_study_and_one_of_pairs(command, tmp_path):
    quick = ["trainer=cpu", "trainer.max_epochs=1", "model=mlp", "data.val_size=0.5", "seed=0,1,2,3,4,5"]
    done = command(
        "train",
        "-m",
        *quick,
        "study.factorial=[[fc1],[fc2]]",
        "study.name=f",
        "+model.layers.fc2={kind: linear, features: 20, after: fc1}",
    )
    assert done.status == 0, done.stderr
    report = (tmp_path / "outputs/studies/f/report.md").read_text()
    assert "| fc1 x fc2 |" in report
    assert "Shapley values" in report
    done = command(
        "train",
        "-m",
        *quick,
        "study.pairs=[fc*]",
        "study.name=p",
        "+model.layers.fc2={kind: linear, features: 20, after: fc1}",
    )
    assert done.status == 0, done.stderr
    assert "| fc1 x fc2 |" in (tmp_path / "outputs/studies/p/report.md").read_text()


@pytest.mark.parametrize(
    ("extra", "said"),
    [
        ("study.factorial=[[conv1],[conv1,fc3]]", "conv1 stands in two groups"),
        ("study.factorial=[[conv1]]", "one group"),
        ("study.pairs=[conv9]", "conv9 matches none"),
        ("study.factorial=[[conv1],[fc3],[fc4],[pool1],[pool2],[conv2],[fc*]]", "stands in two groups"),
    ],
)
def test_groups_that_cannot_be_are_refused(command, extra, said):
    done = command("train", "-m", extra, "study.plan_only=true")
    assert done.status == 1
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
