"""What a trained layer is worth without training again: silence it, or some of its channels, and test.

The method of lesions, as Meyes et al. (2019) use it on networks; replacing by the mean keeps the next layer's input at
its usual level, where zero does not.
"""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cnnlab.models.hooks import watch
from cnnlab.models.network import Network
from cnnlab.models.table import class_layer
from cnnlab.registry import pick
from cnnlab.reporting.steps import steps
from cnnlab.reporting.tables import Table
from cnnlab.runs.record import Record, read_json, write_json
from cnnlab.trained.load import load_test
from cnnlab.training.classifier import Classifier
from cnnlab.training.datamodule import DataModule

BY = ("mean", "zero", "pass")


def lesion(
    run: Record, lesions: Sequence[Sequence[str]], by: str = "mean", data: Mapping[str, Any] | None = None
) -> Table:
    """Test accuracy of a run with parts of its network silenced, a row for each lesion, the intact network first.

    Args:
        run: a finished run.
        lesions: each a list of what is silenced together: layers, or channels as "conv3:17".
        by: what replaces an output: its mean over the validation images (for each channel), zero, or, with "pass", what
            came into the layer, where that has the same shape.
        data: a data config as a plain mapping; the run's own if not given.

    Returns rows of `lesion`, `test/acc` and `change`. Keeps all it found in `evaluate/lesions-<data>-<by>.json`, and
    computes nothing twice.

    Raises:
        ValueError: an unknown layer, channel or replacement, or "pass" where shapes differ.
    """
    if by not in BY:
        raise ValueError(f"lesion_by={by}: known are {', '.join(BY)}")
    config = dict(data or run.config["data"])
    path = run.directory / "evaluate" / f"lesions-{config['name']}-{by}.json"
    known = _kept(path, run.directory / "checkpoints/best.ckpt")
    keys = ["", *("+".join(targets) for targets in lesions)]
    if not all(key in known for key in keys):
        classifier, images, labels = load_test(run, config)
        targets = {key: parse(classifier.network, key) for key in keys}
        with steps(f"lesions of {run.info['variant']} s{run.info['seed']}", len(keys) + 1) as step:
            step("means of the outputs")
            means = validation_means(run, classifier) if by == "mean" else {}
            for key in keys:
                step(key or "none")
                with silenced(classifier.network, targets[key], by, means):
                    hits = classifier.logits(images, config["eval_batch_size"]).argmax(1) == labels
                known[key] = float(hits.double().mean())
        path.parent.mkdir(exist_ok=True)
        write_json(path, known)
    return Table({"lesion": k or "none", "test/acc": known[k], "change": known[k] - known[""]} for k in keys)


def _kept(path: Path, checkpoint: Path) -> dict[str, float]:
    """Return the answers that a file keeps; none where it is damaged, or older than the checkpoint, after a resume."""
    with contextlib.suppress(OSError, ValueError):
        known = read_json(path)
        is_sound = all(isinstance(v, float) and 0 <= v <= 1 for v in known.values())
        if is_sound and path.stat().st_mtime >= checkpoint.stat().st_mtime:
            return known
    return {}


def expand(network: Network, asked: str | Sequence[str]) -> list[list[str]]:
    """The lesions that `lesion=` asks for: "each" layer by itself, "each:conv3", every channel, or one of all named."""
    if asked == "each":
        return [[name] for name in _channels(network)]
    if isinstance(asked, str) and asked.startswith("each:"):
        name = asked.partition(":")[2]
        return [[f"{name}:{channel}"] for channel in range(pick(_channels(network), name, "layer to silence"))]
    return [[asked] if isinstance(asked, str) else list(asked)]


def parse(network: Network, key: str) -> dict[str, list[int] | None]:
    """What "conv2+conv3:17" silences: layers, and of each the channels, or None for all."""
    channels, targets = _channels(network), dict[str, list[int] | None]()
    for part in key.split("+") if key else []:
        name, colon, channel = part.partition(":")
        count = pick(channels, name, "layer to silence")
        if not colon:
            targets[name] = None
        elif not channel.isdigit() or int(channel) >= count:
            raise ValueError(f"lesion={part}: {name} has {count} channels, numbered from 0")
        elif targets.get(name, []) is not None:
            targets[name] = [*(targets.get(name) or []), int(channel)]
    return targets


def _channels(network: Network) -> dict[str, int]:
    """Return how many channels each layer has, without the layer that gives the classes."""
    answer = class_layer(network.table)
    return {row.name: row.output_shape[0] for row in network.table if row.name != answer}


@contextlib.contextmanager
def silenced(
    network: Network, targets: Mapping[str, list[int] | None], by: str, means: Mapping[str, Tensor]
) -> Iterator[None]:
    """A network some of whose outputs are replaced, for a while."""

    def replace(name: str, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        if by == "pass":
            other = inputs[0]
            if other.shape != output.shape:
                raise ValueError(f"lesion_by=pass: {name} changes {_size(other)} to {_size(output)}")
        elif by == "mean":
            other = means[name].to(output.dtype).expand_as(output)
        else:
            other = torch.zeros_like(output)
        if targets[name] is None:
            return other
        kept = output.clone()
        kept[:, targets[name]] = other[:, targets[name]]
        return kept

    with watch({name: network.get_submodule(name) for name in targets}, replace):
        yield


def _size(value: Tensor) -> str:
    return "x".join(map(str, value.shape[1:]))


def validation_means(run: Record, classifier: Classifier) -> dict[str, Tensor]:
    """Of every layer the mean output of each channel, shaped to be broadcast, over the run's validation images."""
    data = DataModule(run.config["data"])
    data.setup()
    sums: dict[str, Any] = {}

    def add(name: str, inputs: Any, output: Tensor) -> None:
        axes = [0, *range(2, output.ndim)]
        mean = output.double().mean(axes, keepdim=True)
        sums[name] = sums.get(name, 0) + mean * len(output)

    layers = {row.name: classifier.network.get_submodule(row.name) for row in classifier.network.table}
    with watch(layers, add):
        classifier.walk(data.val.images, run.config["data"]["eval_batch_size"])
    return {name: total / len(data.val) for name, total in sums.items()}
