"""Simulate the statistics of reports: coverage of intervals, family-wise error and power of verdicts.

    python benchmarks/verdicts.py            a few minutes on one core
    python benchmarks/verdicts.py --rounds 500

Random differences with a known mean, as a study of `seeds` seeds would measure them, are passed to the functions that
reports use.
"""

import argparse
from collections.abc import Callable

import numpy as np

from cnnlab.reporting.statistics import judge, paired_difference

Draw = Callable[[np.random.Generator, tuple[int, int]], np.ndarray]

SHAPES: dict[str, Draw] = {  # all of mean 0
    "normal": lambda rng, shape: rng.normal(size=shape),
    "heavy tails (t, 3 degrees)": lambda rng, shape: rng.standard_t(3, size=shape),
    "skewed (exponential)": lambda rng, shape: rng.exponential(size=shape) - 1,
}
DEPENDENCE: dict[str, Draw] = {
    "independent": lambda rng, shape: rng.normal(size=shape),
    "common baseline": lambda rng, shape: (rng.normal(size=shape) + rng.normal(size=(shape[0], 1))) / np.sqrt(2),
    "seeds of unequal noise": lambda rng, shape: rng.normal(size=shape) * rng.exponential(size=(shape[0], 1)),
    "heavy tails": lambda rng, shape: rng.standard_t(3, size=shape),
    "skewed": lambda rng, shape: rng.exponential(size=shape) - 1,
}
EFFECT = 2.5  # in standard deviations of a seed's difference


def coverage(rounds: int) -> None:
    counts = (5, 6, 8, 12, 16)
    print("Coverage of the 95 % interval of one variant, by seeds\n")
    print(f"| differences | {' | '.join(map(str, counts))} |\n|---{'|---' * len(counts)}|")
    for name, draw in SHAPES.items():
        cells = []
        for count in counts:
            rng = np.random.default_rng(count)
            found = [paired_difference(draw(rng, (count, 1))[:, 0], np.zeros(count)) for _ in range(rounds)]
            held = [d.low <= 0 <= d.high for d in found if d.low is not None and d.high is not None]
            cells.append(f"{100 * np.mean(held):.1f} %" if held else "no interval")
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


def holm(ps: list[float]) -> np.ndarray:
    """Return p values corrected by Holm's method (1979), for comparison with max-T."""
    order, corrected, floor = np.argsort(ps), np.empty(len(ps)), 0.0
    for rank, index in enumerate(order):
        floor = max(floor, min(1.0, ps[index] * (len(ps) - rank)))
        corrected[index] = floor
    return corrected


def families(rounds: int, seeds: int = 8) -> None:
    print(f"\nVerdicts at {seeds} seeds; one variant differs by {EFFECT} standard deviations, the others do not\n")
    print("| differences | variants | family error | power | power by Holm | all intervals cover |")
    print("|---|---|---|---|---|---|")
    for name, draw in DEPENDENCE.items():
        for variants in (6, 12, 20):
            rng = np.random.default_rng(variants)
            wrong = power = by_holm = cover = 0
            for _ in range(rounds):
                means = np.zeros(variants)
                means[0] = EFFECT
                table = draw(rng, (seeds, variants)) + means
                found = judge(table)
                wrong += any(j.p is not None and j.p < 0.05 for j in found[1:])
                power += found[0].p is not None and found[0].p < 0.05
                ps = [paired_difference(table[:, v], np.zeros(seeds)).p or 1.0 for v in range(variants)]
                by_holm += holm(ps)[0] < 0.05
                cover += all((j.low or 0) <= m <= (j.high or 0) for j, m in zip(found, means, strict=True))
            shares = [f"{n / rounds:.3f}" for n in (wrong, power, by_holm, cover)]
            print(f"| {name} | {variants} | {' | '.join(shares)} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=2000)
    rounds = parser.parse_args().rounds
    coverage(2 * rounds)
    families(rounds)


if __name__ == "__main__":
    main()
