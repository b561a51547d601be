"""Read the weights that a network starts from: a run's, a file's (torchvision state dict), or published ones."""

import contextlib
import hashlib
import io
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cnnlab.config.compose import as_shipped
from cnnlab.models.network import Network
from cnnlab.models.published import COUNTER, IMAGENET, by_our_names, file_name, published, recognise
from cnnlab.models.sentences import Embedding
from cnnlab.registry import one_line
from cnnlab.runs.checkpoints import READ_ERRORS, read_state_dict
from cnnlab.runs.record import Record
from cnnlab.training.classifier import Classifier
from cnnlab.training.load import load_trained

PUBLISHED = "torchvision"  # init_from's name of the published weights, optionally followed by ":NAME"
USUAL = (3, 224, 224)  # shape of the images that networks of torchvision are built for


@dataclass(frozen=True)
class Weights:
    """Tensors by the names of a network's layers, and where they come from."""

    source: str  # value of init_from
    tensors: dict[str, Tensor]
    classes: int  # number that they were trained on
    classifier: Classifier | None = None  # of a run's weights
    entry: Any = None  # torchvision's enum member, of published weights


def read_weights(source: Any, model: Mapping[str, Any], shape: Sequence[int] = USUAL) -> Weights:
    """Read the weights that `init_from` names, for a network.

    Args:
        source: a run directory, a file with a torchvision state dict, "torchvision", or "torchvision:" with the name of
            published weights.
        model: config of the network; tensors are named as in the network of its file, without the config's changes.
        shape: of the network's inputs.

    Raises:
        ValueError: the weights do not exist, cannot be downloaded, are damaged, or belong to another network.
    """
    text, entry = str(source), None
    kind, _, which = text.partition(":")
    if kind == PUBLISHED:
        entry = published(model, which)
        theirs = _download(entry, text)
    elif Path(text).is_file():
        theirs = read_state_dict(Path(text))
        entry = recognise(model, digest_of(text, model))
    else:
        classifier = load_trained(_run(text))
        return Weights(text, classifier.network.state_dict(), len(classifier.classes), classifier)
    try:
        tensors, classes = by_our_names(theirs, _as_shipped(model, shape))
    except ValueError as error:
        raise ValueError(f"init_from={text}: these are not the weights of {model['name']}: {error}") from error
    if wrong := next((key for key, tensor in tensors.items() if not torch.isfinite(tensor).all()), None):
        raise ValueError(f"init_from={text}: a value of {wrong} is not finite, so that no answer would mean anything")
    return Weights(text, tensors, classes, entry=entry)


def digest_of(source: Any, model: Mapping[str, Any]) -> str:
    """Return a digest of the weights that `init_from` names: of the file's content, not its path.

    Raises:
        ValueError: the weights do not exist.
    """
    text = str(source)
    kind, _, which = text.partition(":")
    if kind == PUBLISHED:
        return file_name(published(model, which))
    path = Path(text) if Path(text).is_file() else _run(text).directory / "checkpoints/best.ckpt"
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from error


def _run(source: str) -> Record:
    try:
        return Record.load(source)
    except ValueError as error:
        wanted = f"init_from is a run directory, a file with a state dict of torchvision, or {PUBLISHED}"
        raise ValueError(f"{error}; {wanted}") from error


def shared_layers(network: Network, weights: Weights) -> tuple[list[str], list[str]]:
    """Return the names of a network's layers that given weights fit by name and shape, and those of the others.

    Raises:
        ValueError: no layer fits, or a frozen one does not.
    """
    theirs = match_vocabulary(network, weights)
    ours = {k: v for k, v in network.state_dict().items() if k in theirs or not k.endswith(COUNTER)}
    layers = [name for name, _ in network.named_children() if name != "input"]  # normalises by this data's statistics
    agree = {k: k in theirs and theirs[k].shape == v.shape for k, v in ours.items()}
    shared = [name for name in layers if all(ok for k, ok in agree.items() if k.startswith(f"{name}."))]
    if not any(k.partition(".")[0] in shared for k in ours):
        whose = "that run" if weights.classifier else "those weights"
        raise ValueError(f"init_from={weights.source}: no layer of {whose} has the name and shape of one here")
    others = [name for name in layers if name not in shared]
    if kept := [name for name in others if name in network.frozen]:
        raise ValueError(
            f"init_from={weights.source} has no weights of the name and shape of {kept[0]}, which model.freeze would "
            "keep as it was drawn; take it out of model.freeze"
        )
    return shared, others


def match_vocabulary(network: Network, weights: Weights) -> dict[str, Tensor]:
    """Return given tensors, with word vectors moved to the rows that the words have in this network's vocabulary.

    Words unknown to the weights keep this network's initial vectors. Layers that read a map or a count for each word
    are left out, unless the vocabularies are the same.
    """
    theirs = weights.classifier.facts.vocabulary if weights.classifier else ()
    if theirs == network.vocabulary:
        return weights.tensors
    tensors, known = dict(weights.tensors), {word: row for row, word in enumerate(theirs)}
    shared = [(here, known[word]) for here, word in enumerate(network.vocabulary) if word in known]
    for name, part in network.named_modules():
        given = tensors.get(f"{name}.weight")
        if isinstance(part, Embedding) and given is not None and given.shape[1] == part.embedding_dim:
            # validation works on meta tensors, of which only the shape counts
            own = given.new_zeros(part.weight.shape) if part.weight.is_meta else part.weight.detach().clone()
            here, there = torch.tensor(shared, dtype=torch.int64).view(-1, 2).T
            own[here] = given[there].to(own)
            tensors[f"{name}.weight"] = own
    by_word: set[str] = set()  # layers whose output has a map or a count for each word
    for row in network.table:
        if row.kind in ("one_hot", "bag_of_words") or (by_word.intersection(row.sources) and not row.params):
            by_word.add(row.name)
        elif by_word.intersection(row.sources):
            tensors = {key: tensor for key, tensor in tensors.items() if not key.startswith(f"{row.name}.")}
    return tensors


def load_shared_layers(network: Network, weights: Weights) -> list[str]:
    """Load given weights into every layer that they fit by name and shape; returns the names of the other layers.

    Raises:
        ValueError: no layer fits, or a frozen one does not.
    """
    shared, afresh = shared_layers(network, weights)
    own, given = network.state_dict(), match_vocabulary(network, weights)
    loaded = {k: v for k, v in given.items() if k in own and k.partition(".")[0] in shared}
    network.load_state_dict(loaded, strict=False)
    return afresh


def describe_start(source: Any, afresh: Sequence[str]) -> str:
    """Return a line that tells which weights a network started from, and which layers from random ones."""
    return f"init_from: {source}" + (f"; started afresh: {', '.join(afresh)}" if afresh else "")


def _as_shipped(model: Mapping[str, Any], shape: Sequence[int]) -> Network:
    """Build the network of a model's file, without the config's changes, on meta tensors, for colour images."""
    with torch.device("meta"):
        try:
            return Network(as_shipped(model), (3, *shape[1:]), IMAGENET)
        except ValueError:  # perhaps only the changed network takes images of this size
            return Network(as_shipped(model), USUAL, IMAGENET)


def _download(entry: Any, source: str) -> dict[str, Tensor]:
    """Download published weights with torchvision, or read them from its cache."""
    seen = sys.stderr.isatty()  # torch's progress bar would fill a log with lines
    try:
        with contextlib.nullcontext() if seen else contextlib.redirect_stderr(io.StringIO()):
            tensors: dict[str, Tensor] = entry.get_state_dict(progress=seen, check_hash=True, weights_only=True)
    except (OSError, *READ_ERRORS) as error:
        raise ValueError(
            f"init_from={source}: {file_name(entry)} could not be downloaded ({one_line(error)}); download {entry.url} "
            "elsewhere and name the file, init_from=FILE"
        ) from error
    return tensors
