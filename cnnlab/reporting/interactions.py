"""Make the section on interactions: what removals change together beyond the sum of what they change alone.

With y_T the accuracy without the groups T, the effect of a set S of groups is the sum over its subsets U of
(-1)^(|S| - |U|) y_(U and T), averaged over the subsets T of the other groups: for one group its main effect, for two
the difference of differences (Yates 1937). A group's Shapley value is what it adds to accuracy, averaged over all
orders in which groups can be added (Shapley 1953). Each is computed seed by seed, then judged as differences are.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import factorial

import numpy as np

from cnnlab.reporting.measure import Written
from cnnlab.reporting.section import Bullets, Data, Section
from cnnlab.reporting.statistics import LEVEL, Judgement, judge
from cnnlab.reporting.study import Study
from cnnlab.reporting.tables import Table

Subset = frozenset[int]  # of groups, by their numbers
Cells = Mapping[Subset, np.ndarray]  # accuracies by seed, without a subset of groups


@dataclass(frozen=True)
class Effect:
    """The effect of removing a set of groups, over seeds."""

    groups: Subset
    mean: float
    judgement: Judgement


def interactions(study: Study) -> Section:
    """Show main effects, interactions and Shapley values; empty without groups, or with runs missing."""
    section, cells = Section("Interactions"), _cells(study)
    names = ["+".join(group) for group in study.plan.factors]
    if not cells:
        return section
    unit, seeds = study.unit, len(next(iter(cells.values())))
    full = len(cells) == 2 ** len(names)
    sizes = range(1, len(names) + 1) if full else (2,)
    found = effects(cells, [frozenset(s) for size in sizes for s in combinations(range(len(names)), size)], full)
    pairs = [effect for effect in found if len(effect.groups) == 2]
    over = "averaged over the other groups being there or not" if full else "with all other layers there"
    section.blocks += [
        f"What removals change together beyond the sum of what they change alone, {over}; {seeds} seeds, intervals and "
        "p for all rows together (max-T).",
        Bullets([_sentence(effect, names, unit) for effect in pairs if effect.judgement.p is not None][:10]),
        Data("effects", Table(_row(effect, names, unit) for effect in found), "Main effects and interactions"),
    ]
    if full:
        values = shapley(cells, len(names))
        rows = Table(_row(effect, names, unit) for effect in values)
        text = "Shapley values: what each group adds, averaged over all orders in which the groups can be added."
        section.blocks += [text, Data("shapley", rows, "Shapley values")]
    elif len(names) > 2:
        text = "The same as a matrix; on the diagonal what each removal changes alone; * where p is below 0.05."
        section.blocks += [text, Data("pairs", _matrix(cells, found, names, unit), "Interactions of pairs")]
    return section


def _cells(study: Study) -> dict[Subset, np.ndarray]:
    """Return the accuracies without each subset, on the seeds that all have; empty without common seeds."""
    baseline = study.reference.variant
    by_seed: dict[Subset, dict[int, float]] = {}
    for comparison in study.comparisons:
        variant = comparison.variant
        removed = set(variant.removed) - set(baseline.removed)
        groups = frozenset(i for i, group in enumerate(study.plan.factors) if removed.issuperset(group))
        of_groups = removed == {layer for i in groups for layer in study.plan.factors[i]}
        same = variant.overrides[: len(baseline.overrides)] == baseline.overrides
        if of_groups and same and len(variant.overrides) <= len(baseline.overrides) + 1:
            by_seed[groups] = {row["seed"]: row[study.metric] for row in comparison.runs}
    if not study.plan.factors:
        return {}
    seeds = sorted(set.intersection(*(set(runs) for runs in by_seed.values())))
    wanted = [frozenset({i}) for i in range(len(study.plan.factors))]
    if not seeds or any(group not in by_seed for group in wanted):
        return {}
    return {groups: np.array([runs[seed] for seed in seeds]) for groups, runs in by_seed.items()}


def effects(cells: Cells, sets: Sequence[Subset], full: bool) -> list[Effect]:
    """Compute and judge the effects of sets of groups.

    Args:
        cells: accuracies (seeds,) without each subset.
        sets: of groups, not empty.
        full: whether `cells` has every subset of all groups; otherwise no other group is ever removed.
    """
    every = frozenset().union(*sets)
    known = [groups for groups in sets if full or all(inner in cells for inner in _subsets(groups))]
    columns = []
    for groups in known:
        others = list(_subsets(every - groups)) if full else [frozenset[int]()]
        signs = {inner: (-1) ** (len(groups) - len(inner)) for inner in _subsets(groups)}
        terms = [sum(sign * cells[inner | other] for inner, sign in signs.items()) for other in others]
        columns.append(np.mean(terms, axis=0))
    return _judged(known, columns)


def shapley(cells: Cells, count: int) -> list[Effect]:
    """Compute and judge the Shapley value of each of `count` groups from all subsets; positive where it helps."""
    columns = []
    for group in range(count):
        value = np.zeros_like(cells[frozenset()])
        for before in _subsets(frozenset(range(count)) - {group}):  # groups removed before it
            after = count - len(before) - 1
            weight = factorial(after) * factorial(len(before)) / factorial(count)
            value = value + weight * (cells[before] - cells[before | {group}])
        columns.append(value)
    return _judged([frozenset({group}) for group in range(count)], columns)


def _judged(sets: Sequence[Subset], columns: Sequence[np.ndarray]) -> list[Effect]:
    judged = judge(np.stack(columns, 1)) if columns else []
    each = zip(sets, columns, judged, strict=True)
    return [Effect(groups, float(column.mean()), judgement) for groups, column, judgement in each]


def _subsets(groups: Subset) -> Iterator[Subset]:
    for size in range(len(groups) + 1):
        yield from (frozenset(chosen) for chosen in combinations(sorted(groups), size))


def _row(effect: Effect, names: Sequence[str], unit: Written) -> dict[str, object]:
    return {
        "groups": " x ".join(names[i] for i in sorted(effect.groups)),
        "effect": unit.signed(effect.mean),
        "interval for all": unit.between(effect.judgement.low, effect.judgement.high),
        "p (max-T)": effect.judgement.p,
    }


def _sentence(effect: Effect, names: Sequence[str], unit: Written) -> str:
    """State whether removing two groups together costs more or less than the sum."""
    first, second = (names[i] for i in sorted(effect.groups))
    p, interval = effect.judgement.p, unit.between(effect.judgement.low, effect.judgement.high)
    assert p is not None
    if p >= LEVEL:
        return f"{first} and {second}: no interaction can be told ({interval})."
    less = "worse" if effect.mean < 0 else "better"
    return (
        f"{first} and {second}: without both it is {unit.amount(effect.mean)} {less} than the sum of the two "
        f"changes ({interval})."
    )


def _matrix(cells: Cells, found: Sequence[Effect], names: Sequence[str], unit: Written) -> Table:
    """Tabulate the interactions of pairs; on the diagonal the effect of each group alone."""
    pairs = {effect.groups: effect for effect in found}

    def cell(i: int, j: int) -> str:
        if i == j:
            return unit.signed(float((cells[frozenset({i})] - cells[frozenset()]).mean()))
        effect = pairs.get(frozenset({i, j}))
        if effect is None:
            return ""
        star = "*" if effect.judgement.p is not None and effect.judgement.p < LEVEL else ""
        return unit.signed(effect.mean) + star

    return Table({"": name} | {other: cell(i, j) for j, other in enumerate(names)} for i, name in enumerate(names))
