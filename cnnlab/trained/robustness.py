"""Accuracy of a run against distortions of its test images."""

from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from functools import cache

import torch

from cnnlab.data.forms import as_floats
from cnnlab.data.images import PICTURES, permute_pixels
from cnnlab.data.sound import SOUNDS
from cnnlab.registry import pick
from cnnlab.reporting.plots import Strip
from cnnlab.reporting.steps import steps
from cnnlab.reporting.tables import Table
from cnnlab.runs.record import Record
from cnnlab.trained.distortions import DISTORTIONS
from cnnlab.trained.load import load_test
from cnnlab.trained.mnist_c import MNIST_C
from cnnlab.trained.sound_distortions import SOUND_DISTORTIONS
from cnnlab.training.load import form_of

PART = 250  # examples that are distorted at once: what is drawn is the same whatever the batch size
TABLES = {PICTURES: DISTORTIONS, SOUNDS: SOUND_DISTORTIONS}  # by the form of a run's examples


def chosen(run: Record, patterns: Sequence[str] | str | None) -> list[str]:
    """The distortions of a run's examples that match names or globs, each once; all of them if not given.

    Raises:
        ValueError: examples that cannot be distorted, or a pattern that matches nothing.
    """
    its = form_of(run)
    if its not in TABLES:
        raise ValueError(f"robustness: pictures and sounds can be distorted, and {run.directory} takes {its.name}s")
    patterns = [patterns] if isinstance(patterns, str) else patterns or ["*"]
    for pattern in patterns:
        if not any(fnmatchcase(name, str(pattern)) for name in TABLES[its]):
            pick(TABLES[its], pattern, f"distortion of {its.name}s")
    return [name for name in TABLES[its] if any(fnmatchcase(name, pattern) for pattern in patterns)]


def robustness(run: Record, distortions: Sequence[str] | str | None = None) -> Table:
    """A row for each distortion and amount: `run`, `distortion`, `amount`, `accuracy` on all test images.

    Args:
        run: a finished run; its own test images are distorted at the run's size, before any permutation of pixels, and
            sounds before their spectrograms are computed.
        distortions: names or globs, all of them if not given.

    Raises:
        ValueError: an unknown distortion, no checkpoint, no test images, or examples that cannot be distorted.
    """
    names, data, its = chosen(run, distortions), run.config["data"], form_of(run)
    known = TABLES[its]
    classifier, images, labels = load_test(run, data, permute=False, as_loaded=its is SOUNDS)

    @cache
    def accuracy(name: str, amount: float) -> float:
        hits = 0
        for part, truth in zip(images.split(PART), labels.split(PART), strict=True):
            with torch.inference_mode():
                distorted = known[name][0](as_floats(part.to(classifier.device)), amount)
                if its is SOUNDS:
                    distorted = its.to_input(distorted, classifier.facts, data)
                elif data.get("permute_pixels"):
                    distorted = permute_pixels(distorted)
                hits += int((classifier.logits(distorted, data["eval_batch_size"]).argmax(1) == truth).sum())
        return hits / len(labels)

    rows = Table()
    every = [(name, amount) for name in names for amount in sorted(known[name][1])]
    undistorted = names[0], known[names[0]][1][0]  # the same of all distortions
    with steps(f"robustness of {run.info['variant']} s{run.info['seed']}", len(every)) as step:
        for name, amount in every:
            step(f"{name} {amount}")
            found = accuracy(name, amount) if amount != known[name][1][0] else accuracy(*undistorted)
            rows.append({"run": run.directory.name, "distortion": name, "amount": amount, "accuracy": found})
    return rows


def mnist_c(rows: Table) -> dict[str, float]:
    """The mean accuracy of each run over the corruptions of MNIST-C at its severities, where all fifteen are there."""
    found = dict[str, list[float]]()
    for row in rows:
        _, published = MNIST_C.get(row["distortion"].removeprefix("mnist_c/"), (None, None))
        if row["distortion"].startswith("mnist_c/") and row["amount"] == published:
            found.setdefault(row["run"], []).append(row["accuracy"])
    return {run: sum(each) / len(each) for run, each in found.items() if len(each) == len(MNIST_C)}


def strips(run: Record, distortions: Sequence[str] | str | None = None) -> Iterator[Strip]:
    """The first test image of a run under each distortion, by every amount; of sounds none.

    Args are those of `robustness`.
    """
    if form_of(run) is not PICTURES:
        return
    _, images, _ = load_test(run, run.config["data"], permute=False)
    for name in chosen(run, distortions):
        distort, amounts = DISTORTIONS[name]
        seen = [distort(images[:1].float() / 255, amount)[0].permute(1, 2, 0).numpy() for amount in sorted(amounts)]
        yield Strip(name, sorted(amounts), seen)
