"""Measure a run's accuracy on distorted test examples."""

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

PART = 250  # examples distorted at once, so that random numbers do not depend on the batch size
TABLES = {PICTURES: DISTORTIONS, SOUNDS: SOUND_DISTORTIONS}  # by the form of a run's examples


def matching_distortions(run: Record, patterns: Sequence[str] | str | None) -> list[str]:
    """Return the distortions for a run's examples that match names or globs, each once; all if none are given.

    Raises:
        ValueError: examples that cannot be distorted, or a pattern that matches nothing.
    """
    form = form_of(run)
    if form not in TABLES:
        raise ValueError(f"robustness: pictures and sounds can be distorted, and {run.directory} takes {form.name}s")
    patterns, known = [patterns] if isinstance(patterns, str) else patterns or ["*"], TABLES[form]
    for pattern in patterns:
        if not any(fnmatchcase(name, str(pattern)) for name in known):
            pick(known, pattern, f"distortion of {form.name}s")
    return [name for name in known if any(fnmatchcase(name, pattern) for pattern in patterns)]


def robustness(run: Record, distortions: Sequence[str] | str | None = None) -> Table:
    """Return a row for each distortion and amount: `run`, `distortion`, `amount`, `accuracy` on all test examples.

    Args:
        run: a finished run; its test images are distorted at the run's size, before any permutation of pixels, sounds
            before their spectrograms are computed.
        distortions: names or globs; all if not given.

    Raises:
        ValueError: an unknown distortion, no checkpoint, no test examples, or examples that cannot be distorted.
    """
    names, data, form = matching_distortions(run, distortions), run.config["data"], form_of(run)
    known = TABLES[form]
    classifier, inputs, labels = load_test(run, data, permute=False, as_loaded=form is SOUNDS)

    @cache
    def accuracy(name: str, amount: float) -> float:
        hits = 0
        for part, truth in zip(inputs.split(PART), labels.split(PART), strict=True):
            with torch.inference_mode():
                distorted = known[name][0](as_floats(part.to(classifier.device)), amount)
                if form is SOUNDS:
                    distorted = form.to_input(distorted, classifier.facts, data)
                elif data.get("permute_pixels"):
                    distorted = permute_pixels(distorted)
                hits += int((classifier.logits(distorted, data["eval_batch_size"]).argmax(1) == truth).sum())
        return hits / len(labels)

    rows = Table()
    every = [(name, amount) for name in names for amount in sorted(known[name][1])]
    undistorted = names[0], known[names[0]][1][0]  # the first amount of every distortion changes nothing
    with steps(f"robustness of {run.info['variant']} s{run.info['seed']}", len(every)) as step:
        for name, amount in every:
            step(f"{name} {amount}")
            found = accuracy(name, amount) if amount != known[name][1][0] else accuracy(*undistorted)
            rows.append({"run": run.directory.name, "distortion": name, "amount": amount, "accuracy": found})
    return rows


def mnist_c_means(rows: Table) -> dict[str, float]:
    """Return the mean accuracy over MNIST-C's corruptions at its severities, for each run that has all fifteen."""
    found = dict[str, list[float]]()
    for row in rows:
        _, published = MNIST_C.get(row["distortion"].removeprefix("mnist_c/"), (None, None))
        if row["distortion"].startswith("mnist_c/") and row["amount"] == published:
            found.setdefault(row["run"], []).append(row["accuracy"])
    return {run: sum(each) / len(each) for run, each in found.items() if len(each) == len(MNIST_C)}


def strips(run: Record, distortions: Sequence[str] | str | None = None) -> Iterator[Strip]:
    """Yield the first test image of a run under each distortion at every amount; nothing for sounds.

    Args are those of `robustness`.
    """
    if form_of(run) is not PICTURES:
        return
    _, images, _ = load_test(run, run.config["data"], permute=False)
    for name in matching_distortions(run, distortions):
        distort, amounts = DISTORTIONS[name]
        seen = [distort(images[:1].float() / 255, amount)[0].permute(1, 2, 0).numpy() for amount in sorted(amounts)]
        yield Strip(name, sorted(amounts), seen)
