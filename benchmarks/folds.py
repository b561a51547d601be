"""Simulate the false positive rate and power of the test for differences in a cross-validation.

    python benchmarks/folds.py               a few minutes on one core

Images are points of two classes. Two learners of one kind see disjoint halves of their coordinates, which separate the
classes equally well, so that neither is better; for the power, one half separates them less well. Each round draws new
points, splits them into folds, trains and tests both learners on each, and passes the differences to the corrected test
of reports, and to the t test that treats folds as independent.
"""

import argparse
from collections.abc import Callable

import numpy as np

from cnnlab.reporting.folds import corrected

HALF = 8  # number of coordinates of a learner
Learner = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]


def nearest_mean(train: np.ndarray, labels: np.ndarray, test: np.ndarray) -> np.ndarray:
    means = np.stack([train[labels == c].mean(0) for c in (0, 1)])
    return np.square(test[:, None] - means).sum(2).argmin(1)


def nearest_neighbour(train: np.ndarray, labels: np.ndarray, test: np.ndarray) -> np.ndarray:
    return labels[(np.square(train).sum(1) - 2 * test @ train.T).argmin(1)]


def least_squares(train: np.ndarray, labels: np.ndarray, test: np.ndarray) -> np.ndarray:
    ones = np.ones((len(train), 1))
    weights = np.linalg.lstsq(np.hstack([train, ones]), 2.0 * labels - 1, rcond=None)[0]
    return (test @ weights[:-1] + weights[-1] > 0).astype(int)


LEARNERS: dict[str, Learner] = {
    "nearest mean": nearest_mean,
    "least squares": least_squares,
    "nearest neighbour": nearest_neighbour,
}


def differences(rng: np.random.Generator, learner: Learner, images: int, folds: int, weaker: float) -> list[float]:
    """Return the accuracy of the first learner minus that of the second, fold by fold."""
    labels = rng.integers(2, size=images)
    signal = np.r_[np.full(HALF, 0.3), np.full(HALF, 0.3 * (1 - weaker))]
    points = rng.normal(size=(images, 2 * HALF)) + np.where(labels[:, None] == 1, signal, -signal)
    found = []
    for fold in range(folds):
        held_out = np.arange(images) * folds // images == fold
        own = [
            (learner(points[~held_out, half], labels[~held_out], points[held_out, half]) == labels[held_out]).mean()
            for half in (slice(0, HALF), slice(HALF, None))
        ]
        found.append(float(own[0] - own[1]))
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=1000)
    rounds = parser.parse_args().rounds
    print("| learner | images | folds | false verdicts, folds as independent | false verdicts | power |")
    print("|---|---|---|---|---|---|")
    for name, learner in LEARNERS.items():
        for images, folds in ((200, 5), (200, 10), (1000, 5), (1000, 10)):
            cells = []
            for weaker, ratio in ((0.0, 0.0), (0.0, 1 / (folds - 1)), (0.5, 1 / (folds - 1))):
                rng = np.random.default_rng(folds)
                simulated = (differences(rng, learner, images, folds, weaker) for _ in range(rounds))
                cells.append(f"{np.mean([corrected(d, ratio)[0] < 0.05 for d in simulated]):.3f}")
            print(f"| {name} | {images:,} | {folds} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
