"""Load a run's classifier together with test examples, or its data."""

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
    """Return a run's classifier on the best device, and the test inputs and labels of a data config.

    Without `permute`, the pixels of a run on permuted pixels stay in place. With `as_loaded`, inputs are not yet
    converted for the network; sounds are waveforms.

    Raises:
        ValueError: no checkpoint, no test examples, or other channels or classes than the run's.
    """
    classifier = load_trained(run)
    if (crop := run.config["data"].get("crop")) is not None:  # image files are resized and cropped as the run's were
        config = {**config, "resize": run.config["data"]["resize"], "crop": crop}
    if form(config) is form(run.config["data"]):
        config = {**config, **{key: run.config["data"][key] for key in form(config).read_by}}
    splits = load(config)
    if splits.test is None:
        raise ValueError(f"data={config['name']} has no test images")
    channels, theirs, ours = classifier.facts.shape[0], form(config), form(run.config["data"])
    if theirs is not ours:
        raise ValueError(
            f"data={config['name']} holds a {theirs.name} in each example, and {run.directory} was trained on "
            f"{ours.name}s"
        )
    if ours is PICTURES and splits.test.inputs.shape[1] != channels:
        raise ValueError(
            f"data={config['name']} has {splits.test.inputs.shape[1]} channels, and {run.directory} was trained on "
            f"{channels}"
        )
    labels = labels_of_run(splits.test.labels, splits.classes, classifier.classes, config["name"])
    run_data = run.config["data"] if permute else {**run.config["data"], "permute_pixels": False}
    if as_loaded:
        return classifier.to(best_device()), splits.test.inputs, labels
    inputs = ours.to_input(splits.test.inputs, classifier.facts, run_data)
    if tuple(inputs.shape[1:]) != classifier.facts.shape:
        raise ValueError(
            f"data={config['name']} has {show(inputs.shape[1:])}, and the network takes {show(classifier.facts.shape)}"
        )
    return classifier.to(best_device()), inputs, labels


def load_data(run: Record, classifier: Classifier) -> DataModule:
    """Return a run's data, loaded and split.

    Raises:
        ValueError: the training sentences, and so the vocabulary, have changed since the classifier was trained.
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
    """Return labels renumbered by class name from another dataset's classes to the run's.

    Raises:
        ValueError: a class that the run was not trained on.
    """
    unknown = [c for c in theirs if c not in ours]
    if unknown:
        near = get_close_matches(unknown[0], ours, n=5) if len(ours) > 5 else []
        raise ValueError(
            f"data={name} has classes this run was not trained on: {', '.join(unknown[:5])}; "
            f"it knows {', '.join(near or ours[:5])}"
        )
    return torch.tensor([ours.index(c) for c in theirs])[labels]
