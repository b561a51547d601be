"""Silence layers or channels of a trained network temporarily, or remove layers from it."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from cnnlab.models.arrangement import as_patterns, matching
from cnnlab.models.hooks import watch
from cnnlab.models.merges import show
from cnnlab.models.network import Network
from cnnlab.models.table import class_layer
from cnnlab.registry import pick
from cnnlab.runs.record import Record
from cnnlab.trained.load import load_data
from cnnlab.training.classifier import Classifier

BY = ("mean", "zero", "pass")


class MisfitError(ValueError):
    """A network after a lesion by "pass" does not fit together, or not its trained weights."""


Targets = dict[str, list[int] | None]  # channels to silence by layer; None for the whole layer


def refuse_unknown(by: str) -> None:
    """Refuse an unknown replacement.

    Raises:
        ValueError: names the known ones.
    """
    if by not in BY:
        raise ValueError(f"lesion_by={by}: known are {', '.join(BY)}")


def parse(network: Network, parts: Sequence[str]) -> Targets:
    """Return the targets of a list of parts, such as ["s1b2_*", "conv3:17"], in the order of the network.

    Raises:
        ValueError: an unknown layer or channel.
    """
    channels, targets = channels_of(network), Targets()
    for part in parts:
        name, colon, channel = part.partition(":")
        names = matching(channels, [name]) or [name]
        count = pick(channels, names[0], "layer to silence")
        if not colon:
            targets |= dict.fromkeys(names)
        elif not channel.isdigit() or int(channel) >= count or names != [name]:
            raise ValueError(f"lesion={part}: {names[0]} has {count} channels, numbered from 0")
        elif (known := targets.get(name, [])) is not None:
            targets[name] = sorted({*known, int(channel)})
    return {name: targets[name] for name in channels if name in targets}


def channels_of(network: Network) -> dict[str, int]:
    """Return the number of channels of each layer but the classifying one."""
    classifying = class_layer(network.table)
    return {row.name: row.output_shape[0] for row in network.table if row.name != classifying}


@contextlib.contextmanager
def silenced(classifier: Classifier, targets: Targets, by: str, means: Mapping[str, Tensor]) -> Iterator[Network]:
    """Silence parts of a classifier's network inside the block; `means` holds the mean outputs, for `by="mean"`."""
    whole, trained = [name for name, channels in targets.items() if channels is None], classifier.network

    def replace(name: str, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        if by == "pass":
            other = inputs[0]
            if other.shape != output.shape:
                sizes = " to ".join(show(value.shape[1:]) for value in (other, output))
                raise MisfitError(f"lesion_by=pass: {name} changes {sizes}")
        elif by == "mean":
            other = means[name].to(output.dtype).expand_as(output)
        else:
            other = torch.zeros_like(output)
        if targets[name] is None:
            return other
        kept = output.clone()
        kept[:, targets[name]] = other[:, targets[name]]
        return kept

    if by == "pass" and whole:
        classifier.network = without(classifier, whole)
    layers, spared = dict(classifier.network.named_children()), _kept_merges(trained, whole)
    try:
        with watch({name: layers[name] for name in targets if name in layers and name not in spared}, replace):
            yield classifier.network
    finally:
        classifier.network = trained


def _kept_merges(network: Network, silent: Sequence[str]) -> list[str]:
    """Return silent merges with some, not all, sources silent: the other sources, such as a shortcut, pass through."""
    found, rest = [], set(silent)
    for row in network.table:
        silent_sources = rest.intersection(row.sources)
        if row.name in rest and silent_sources and len(silent_sources) < len(row.sources):
            found.append(row.name)
            rest.remove(row.name)
    return found


def without(classifier: Classifier, layers: Sequence[str]) -> Network:
    """Return a trained network without some layers, removed as by `model.remove`; the others share its weights.

    Raises:
        MisfitError: the rest does not fit together, or not the trained weights.
    """
    facts, trained = classifier.hparams, classifier.network.state_dict()
    removed = as_patterns(facts["model"].get("remove") or [], "model.remove")
    model = {**facts["model"], "freeze": [], "remove": [*removed, *layers]}
    try:
        with torch.device("meta"):
            network = Network(model, *classifier.facts, mean=facts["mean"], std=facts["std"])
    except ValueError as error:
        names, misfit = ", ".join(layers), str(error).partition(";")[0]  # without its remedy, which is for training
        raise MisfitError(
            f"lesion_by=pass: what {names} leave does not fit, {misfit}; keep a shortcut, or silence by mean"
        ) from error
    state = network.state_dict()
    for key, value in state.items():
        if key not in trained or trained[key].shape != value.shape:
            name = key.partition(".")[0]
            row = next(row for row in network.table if row.name == name)
            read = " and ".join(show(network.shapes[source]) for source in row.sources)
            raise MisfitError(
                f"lesion_by=pass: without {', '.join(layers)}, {name} reads {read}, for which it has no trained weights"
            )
    network.load_state_dict({key: trained[key] for key in state}, assign=True)
    return network.eval()


def validation_means(run: Record, classifier: Classifier) -> dict[str, Tensor]:
    """Return each layer's mean output per channel over the run's validation examples, shaped for broadcasting."""
    data = load_data(run, classifier)
    return channel_means(classifier, data.val.inputs, run.config["data"]["eval_batch_size"])


def channel_means(classifier: Classifier, inputs: Tensor, batch_size: int) -> dict[str, Tensor]:
    """Return each layer's mean output per channel over inputs (N, ...), shaped for broadcasting."""
    sums: dict[str, Any] = {}

    def add(name: str, _: Any, output: Tensor) -> None:
        means = output.double().mean([0, *range(2, output.ndim)], keepdim=True)
        sums[name] = sums.get(name, 0) + means * len(output)

    layers = {row.name: classifier.network.get_submodule(row.name) for row in classifier.network.table}
    with watch(layers, add):
        classifier.walk(inputs, batch_size)
    return {name: total / len(inputs) for name, total in sums.items()}
