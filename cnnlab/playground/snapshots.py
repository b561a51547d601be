"""The weights of a run over its training, as `callbacks=snapshots` has kept them, for a page."""

from typing import Any

import torch

from cnnlab.playground.content import pictures_of
from cnnlab.playground.describe import describe
from cnnlab.playground.store import Store
from cnnlab.runs.record import Record
from cnnlab.trained.silence import channel_means
from cnnlab.training.load import load_classifier

ROOM = 2**24  # bytes of all snapshots in a page, at most
FEWEST = 3  # in a page; of a network so large that no three have room it holds none


def over_time(run: Record, described: dict[str, Any], store: Store) -> list[dict[str, Any]]:
    """Add a run's snapshots to what its page holds; returns of each its `step` and `tensors`, in the order of time.

    Where not all have room, some are left out in between. Means that replace what is silenced are over the pictures in
    the page, which `described` and `store` hold as `content` gives them.

    Raises:
        ValueError: a snapshot is damaged, or of another network.
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
        its, numbers = describe(classifier.network, None, means)
        if its["layers"] != described["layers"]:
            raise ValueError(f"{file} is of another network than the run's checkpoint")
        found.append({"step": int(file.stem.removeprefix("step_")), "tensors": store.join(numbers)})
    return found
