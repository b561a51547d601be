"""Gather the content of a page in which two networks classify the same drawing."""

from typing import Any

import torch

from cnnlab.playground.content import content, noise, pictures_of, preparation, size_and_accuracy
from cnnlab.playground.describe import describe, operations
from cnnlab.playground.store import Store
from cnnlab.reporting.steps import Announce
from cnnlab.runs.record import Record
from cnnlab.trained.given import without_images
from cnnlab.trained.silence import validation_means
from cnnlab.training.classifier import Classifier
from cnnlab.training.load import load_trained


def pair(run: Record, beside: Record, pictures: int, step: Announce) -> tuple[dict[str, Any], Store]:
    """Gather the content of two runs' page: that of the first run, and the second network as `beside`.

    Both classify validation pictures of the first run.

    Raises:
        ValueError: as `content`; or the networks differ in inputs, classes or preparation of pictures.
    """
    (one, other) = load_trained(run), load_trained(beside)
    _refuse_unlike(run, one, beside, other)
    operations(other.network)  # raises before the first is described
    described, store = content(run, pictures, step)
    shown = pictures_of(described, store)
    means = validation_means(beside, other) if len(shown) and not without_images(beside.config["data"]) else {}
    network, numbers = describe(other.network, shown if len(shown) else noise(other), means)
    names = _names(run, beside)
    lead = "Two networks on the same pictures."
    if len(shown) and _split(run) != _split(beside):
        lead += f" They are held out of the training of {names[0]}; {names[1]} may have been trained on some of them."
    first = {"title": f"{names[0]} beside {names[1]}", "lead": lead, "name": names[0], "note": described["lead"]}
    second = network | {"name": names[1], "note": size_and_accuracy(beside, other), "tensors": store.join(numbers)}
    return described | first | {"beside": second}, store


def _refuse_unlike(run: Record, one: Classifier, beside: Record, other: Classifier) -> None:
    nothing = torch.zeros(0)
    for what, first, second in (
        ("inputs", list(one.hparams["input_shape"]), list(other.hparams["input_shape"])),
        ("classes", _counted(one.classes), _counted(other.classes)),
        ("how pictures are prepared", preparation(run, one, nothing), preparation(beside, other, nothing)),
    ):
        if first != second:
            shown = "" if isinstance(first, dict) else f", {first} and {second}"
            raise ValueError(f"run=[{run.directory},{beside.directory}]: the networks differ in {what}{shown}")


def _counted(classes: list[str]) -> str:
    return f"{len(classes)} ({', '.join(classes)})"


def _names(*runs: Record) -> list[str]:
    """Name networks by their removed layers or variants, or by their run directories if those are equal."""
    infos = [run.info for run in runs]
    names = [
        f"{run.config['model']['name']} without {', '.join(info['removed'])}" if info["removed"] else info["variant"]
        for run, info in zip(runs, infos, strict=True)
    ]
    return names if len(set(names)) == len(names) else [run.directory.resolve().name for run in runs]


def _split(run: Record) -> dict[str, Any]:
    """Return the config values that determine a run's validation split."""
    names = ("name", "path", "val_size", "split_seed", "folds", "fold")
    return {name: run.config["data"].get(name) for name in names}
