"""Read which examples each run of a study got right, from the answers that runs keep."""

import contextlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cnnlab.reporting.study import Study
from cnnlab.runs.answers import read_answers, read_classes


@dataclass(frozen=True)
class Hits:
    """Which of the same N examples, in the same order, each run of a variant got right."""

    seeds: list[int]  # of each run
    right: NDArray[np.bool_]  # (runs, N)
    labels: NDArray[np.int16]  # (N,), the class of each example


def hits(study: Study, variant: str) -> Hits | None:
    """Read which test examples (validation examples without any) each completed run of a variant got right.

    Returns None where fewer than two runs have answers, or on different examples, as of several validation splits.
    """
    stage = study.metric.partition("/")[0]
    seeds, right, labels = list[int](), [], None
    for row in study.rows:
        if row["variant"] != variant or row["status"] != "completed":
            continue
        with contextlib.suppress(ValueError):  # a damaged file counts as none
            answers = read_answers(study.directory / row["run_dir"]).get(stage)
            if answers is None:
                continue
            if labels is not None and not np.array_equal(labels, answers.label):
                return None
            labels = answers.label
            seeds.append(row["seed"])
            right.append(answers.hits)
    return Hits(seeds, np.stack(right), labels) if labels is not None and len(right) > 1 else None


def class_names(study: Study) -> list[str]:
    """Return the names of the classes, from the first run that keeps them; an empty list without any."""
    for row in study.rows:
        with contextlib.suppress(ValueError):
            if names := read_classes(study.directory / row["run_dir"]):
                return names
    return []
