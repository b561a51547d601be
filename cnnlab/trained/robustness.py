"""Accuracy of a run against distortions of its test images."""

from collections.abc import Sequence

import torch

from cnnlab.data.forms import as_floats
from cnnlab.data.images import PICTURES, permute_pixels
from cnnlab.data.load import form
from cnnlab.data.sound import SOUNDS
from cnnlab.registry import pick
from cnnlab.reporting.steps import steps
from cnnlab.reporting.tables import Table
from cnnlab.runs.record import Record
from cnnlab.trained.distortions import DISTORTIONS
from cnnlab.trained.load import load_test
from cnnlab.trained.sound_distortions import SOUND_DISTORTIONS

TABLES = {PICTURES: DISTORTIONS, SOUNDS: SOUND_DISTORTIONS}  # by the form of a run's examples


def robustness(run: Record, distortions: Sequence[str] | None = None) -> Table:
    """A row for each distortion and amount: `run`, `distortion`, `amount`, `accuracy` on all test images.

    Args:
        run: a finished run; its own test images are distorted at the run's size, before any permutation of pixels, and
            sounds before their spectrograms are computed.
        distortions: names, all of them if not given.

    Raises:
        ValueError: an unknown distortion, no checkpoint, no test images, or examples that cannot be distorted.
    """
    data = run.config["data"]
    its = form(data)
    if its not in TABLES:
        raise ValueError(f"robustness: pictures and sounds can be distorted, and {run.directory} takes {its.name}s")
    known = TABLES[its]
    chosen = {name: pick(known, name, f"distortion of {its.name}s") for name in distortions or known}
    classifier, images, labels = load_test(run, data, permute=False, as_loaded=its is SOUNDS)
    batch = data["eval_batch_size"]
    rows = Table()
    every = [(name, distort, amount) for name, (distort, amounts) in chosen.items() for amount in sorted(amounts)]
    with steps(f"robustness of {run.info['variant']} s{run.info['seed']}", len(every)) as step:
        for name, distort, amount in every:
            step(f"{name} {amount}")
            hits = 0
            for part, truth in zip(images.split(batch), labels.split(batch), strict=True):
                with torch.inference_mode():
                    distorted = distort(as_floats(part.to(classifier.device)), amount)
                    if its is SOUNDS:
                        distorted = its.to_input(distorted, classifier.facts, data)
                    elif data.get("permute_pixels"):
                        distorted = permute_pixels(distorted)
                    hits += int((classifier.logits(distorted, batch).argmax(1) == truth).sum())
            rows.append(
                {"run": run.directory.name, "distortion": name, "amount": amount, "accuracy": hits / len(labels)}
            )
    return rows
