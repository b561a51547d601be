"""Load what a run has trained, and the test examples it is asked about."""

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

import torch
from torch import Tensor

from cnnlab.data.images import PICTURES
from cnnlab.data.load import form, load
from cnnlab.device import best_device
from cnnlab.models.merges import show
from cnnlab.runs.record import Record
from cnnlab.training.classifier import Classifier
from cnnlab.training.datamodule import DataModule
from cnnlab.training.load import load_trained


def load_test(
    run: Record, config: Mapping[str, Any], permute: bool = True, as_loaded: bool = False
) -> tuple[Classifier, Tensor, Tensor]:
    """A run's classifier where it computes fastest, and the test inputs of a data config as it takes them, with labels.

    Without `permute` the pixels of a run on permuted ones are left in their places; with `as_loaded` examples are not
    yet prepared for the network, sounds are waveforms.

    Raises:
        ValueError: no checkpoint, no test images, or other channels or classes than the run's.
    """
    classifier = load_trained(run)
    if (crop := run.config["data"].get("crop")) is not None:  # picture files are read as the run's were
        config = {**config, "resize": run.config["data"]["resize"], "crop": crop}
    if form(config) is form(run.config["data"]):
        config = {**config, **{key: run.config["data"][key] for key in form(config).read_by}}
    splits = load(config)
    if splits.test is None:
        raise ValueError(f"data={config['name']} has no test images")
    channels, its, ours = classifier.facts.shape[0], form(config), form(run.config["data"])
    if its is not ours:
        raise ValueError(
            f"data={config['name']} holds a {its.name} in each example, and {run.directory} was trained on {ours.name}s"
        )
    if its is PICTURES and splits.test.inputs.shape[1] != channels:
        raise ValueError(
            f"data={config['name']} has {splits.test.inputs.shape[1]} channels, and {run.directory} was trained on "
            f"{channels}"
        )
    labels = labels_of_run(splits.test.labels, splits.classes, classifier.classes, config["name"])
    theirs = run.config["data"] if permute else {**run.config["data"], "permute_pixels": False}
    if as_loaded:
        return classifier.to(best_device()), splits.test.inputs, labels
    inputs = its.to_input(splits.test.inputs, classifier.facts, theirs)
    if tuple(inputs.shape[1:]) != classifier.facts.shape:
        raise ValueError(
            f"data={config['name']} has {show(inputs.shape[1:])}, and the network takes {show(classifier.facts.shape)}"
        )
    return classifier.to(best_device()), inputs, labels


def load_data(run: Record, classifier: Classifier) -> DataModule:
    """Return a run's data, loaded and split.

    Raises:
        ValueError: the training sentences were changed since the classifier was trained, so that ids are other words'.
    """
    data = DataModule(run.config["data"])
    if data.facts.vocabulary != classifier.facts.vocabulary:
        raise ValueError(
            f"data={data.config['name']}: the training sentences have another vocabulary than the network was trained "
            "with; were they changed?"
        )
    data.setup()
    return data


def labels_of_run(labels: Tensor, theirs: list[str], ours: list[str], name: str) -> Tensor:
    """Labels renumbered as the run numbers its classes, by name.

    Raises:
        ValueError: a class the run does not know.
    """
    unknown = [c for c in theirs if c not in ours]
    if unknown:
        near = get_close_matches(unknown[0], ours, n=5) if len(ours) > 5 else []
        raise ValueError(
            f"data={name} has classes this run was not trained on: {', '.join(unknown[:5])}; "
            f"it knows {', '.join(near or ours[:5])}"
        )
    return torch.tensor([ours.index(c) for c in theirs])[labels]
