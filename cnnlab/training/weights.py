"""Weights that a network starts from: a run's, those of a file with a torchvision state dict, or published ones."""

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

PUBLISHED = "torchvision"  # as init_from names the published weights, perhaps with ":" and which
USUAL = (3, 224, 224)  # images that networks of torchvision are built for


@dataclass(frozen=True)
class Weights:
    """Tensors by the names of a network's layers, and where they come from."""

    source: str  # as init_from names it
    tensors: dict[str, Tensor]
    classes: int  # that they tell apart
    classifier: Classifier | None = None  # whose they are, where a run has trained them
    entry: Any = None  # of torchvision's published weights, where they are some of these


def read_weights(source: Any, model: Mapping[str, Any], shape: Sequence[int] = USUAL) -> Weights:
    """Read the weights that `init_from` names, for a network.

    Args:
        source: a run directory, a file with a state dict of torchvision, "torchvision", or "torchvision:" with the name
            of published weights.
        model: config of the network; whatever it changes of the network that its file describes, tensors are named as
            in that one.
        shape: of the images that it gets.

    Raises:
        ValueError: there are none, they cannot be downloaded, are damaged, or are another network's.
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
    """Tell the weights that `init_from` names from others, by what is in the file, wherever it lies.

    Raises:
        ValueError: there are none.
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
    """Return the layers of a network whose names and shapes are those of given weights, and the others.

    Raises:
        ValueError: there is none, or a frozen layer is not among them.
    """
    theirs = in_our_words(network, weights)
    ours = {k: v for k, v in network.state_dict().items() if k in theirs or not k.endswith(COUNTER)}
    layers = [name for name, _ in network.named_children() if name != "input"]  # its numbers are this data's
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


def in_our_words(network: Network, weights: Weights) -> dict[str, Tensor]:
    """Return given tensors, with each word vector in the row that its word has in this network's vocabulary.

    Words that the weights do not know keep the vectors that were drawn here. What reads a map or a count for each word
    is left out, unless the vocabularies are the same.
    """
    theirs = weights.classifier.facts.vocabulary if weights.classifier else ()
    if theirs == network.vocabulary:
        return weights.tensors
    tensors, known = dict(weights.tensors), {word: row for row, word in enumerate(theirs)}
    shared = [(here, known[word]) for here, word in enumerate(network.vocabulary) if word in known]
    for name, part in network.named_modules():
        given = tensors.get(f"{name}.weight")
        if isinstance(part, Embedding) and given is not None and given.shape[1] == part.embedding_dim:
            # what a validation on meta tensors asks for are shapes
            own = given.new_zeros(part.weight.shape) if part.weight.is_meta else part.weight.detach().clone()
            here, there = torch.tensor(shared, dtype=torch.int64).view(-1, 2).T
            own[here] = given[there].to(own)
            tensors[f"{name}.weight"] = own
    by_word: set[str] = set()  # layers that give a map or a count for each word
    for row in network.table:
        if row.kind in ("one_hot", "bag_of_words") or (by_word.intersection(row.sources) and not row.params):
            by_word.add(row.name)
        elif by_word.intersection(row.sources):
            tensors = {key: tensor for key, tensor in tensors.items() if not key.startswith(f"{row.name}.")}
    return tensors


def take(network: Network, weights: Weights) -> list[str]:
    """Let a network have given weights in every layer whose name and shapes agree; returns the layers that it has not.

    Raises:
        ValueError: no layer agrees.
    """
    shared, afresh = shared_layers(network, weights)
    there = network.state_dict()
    taken = {k: v for k, v in in_our_words(network, weights).items() if k in there and k.partition(".")[0] in shared}
    network.load_state_dict(taken, strict=False)
    return afresh


def described(source: Any, afresh: Sequence[str]) -> str:
    """Say in one line what a network started from."""
    return f"init_from: {source}" + (f"; started afresh: {', '.join(afresh)}" if afresh else "")


def _as_shipped(model: Mapping[str, Any], shape: Sequence[int]) -> Network:
    """Return the network of a model as its file describes it, on meta tensors, for colour images."""
    with torch.device("meta"):
        try:
            return Network(as_shipped(model), (3, *shape[1:]), IMAGENET)
        except ValueError:  # what was changed may be what lets it take images of this size
            return Network(as_shipped(model), USUAL, IMAGENET)


def _download(entry: Any, source: str) -> dict[str, Tensor]:
    """Let torchvision download published weights, or find them where it has downloaded them before."""
    seen = sys.stderr.isatty()  # in a log, what torch says of its progress would be lines of errors
    try:
        with contextlib.nullcontext() if seen else contextlib.redirect_stderr(io.StringIO()):
            tensors: dict[str, Tensor] = entry.get_state_dict(progress=seen, check_hash=True, weights_only=True)
    except (OSError, *READ_ERRORS) as error:
        raise ValueError(
            f"init_from={source}: {file_name(entry)} could not be downloaded ({one_line(error)}); download {entry.url} "
            "elsewhere and name the file, init_from=FILE"
        ) from error
    return tensors
