"""Add a run's weights over training, kept by `callbacks=snapshots`, to its page."""

from typing import Any

import torch

from cnnlab.playground.content import pictures_of
from cnnlab.playground.describe import describe
from cnnlab.playground.store import Store
from cnnlab.runs.record import Record
from cnnlab.trained.silence import channel_means
from cnnlab.training.load import load_classifier

ROOM = 2**24  # bytes of all snapshots in a page, at most
FEWEST = 3  # snapshots in a page; if not so many fit, there are none


def over_time(run: Record, described: dict[str, Any], store: Store) -> list[dict[str, Any]]:
    """Add a run's snapshots to the content of its page; return `step` and `tensors` of each, in the order of time.

    If not all fit, evenly spaced ones are kept. Means, which replace silenced outputs, are over the pictures of the
    page in `described` and `store`, the results of `content`.

    Raises:
        ValueError: a snapshot is damaged, or belongs to another network.
    """
    files = sorted((run.directory / "snapshots").glob("step_*.ckpt"))
    room = ROOM // max(1, 2 * sum(layer["params"] for layer in described["layers"]))
    if room < FEWEST:
        return []
    if len(files) > room:
        files = [files[i] for i in torch.linspace(0, len(files) - 1, room).round().int().tolist()]
    pictures, found = pictures_of(described, store), []
    has_means = any(layer["mean"] is not None for layer in described["layers"])
    for file in files:
        classifier = load_classifier(file, run.info["config_hash"])
        means = channel_means(classifier, pictures, len(pictures)) if has_means else {}
        snapshot, numbers = describe(classifier.network, None, means)
        if snapshot["layers"] != described["layers"]:
            raise ValueError(f"{file} is of another network than the run's checkpoint")
        found.append({"step": int(file.stem.removeprefix("step_")), "tensors": store.join(numbers)})
    return found
