"""Predict classes and probabilities of images, image files and sentences."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch

from cnnlab.data.forms import find_files
from cnnlab.data.load import form
from cnnlab.data.text import SENTENCES, as_bytes, read_sentences, to_ids, words
from cnnlab.device import best_device
from cnnlab.registry import one_line
from cnnlab.reporting.tables import Table
from cnnlab.runs.record import Record
from cnnlab.training.load import form_of, load_trained

GUESSES = 5  # number of most probable classes


def top_classes(logits: Any, classes: Sequence[str]) -> list[dict[str, Any]]:
    """Return the most probable classes for each row of logits (N, classes).

    `label` and `probability` are the most probable class, `label2` and `probability2` the second, up to the fifth if
    there are so many classes.
    """
    probabilities, indices = logits.softmax(1).sort(dim=1, descending=True, stable=True)  # of ties the first class
    ranks = ["", *map(str, range(2, GUESSES + 1))]
    return [
        {
            key: value
            for rank, i, p in zip(ranks, row, values, strict=False)
            for key, value in ((f"label{rank}", classes[i]), (f"probability{rank}", p))
        }
        for row, values in zip(indices[:, :GUESSES].tolist(), probabilities[:, :GUESSES].tolist(), strict=True)
    ]


def predict(run: Record, images: list[Path], batch_size: int = 500) -> Table:
    """Predict files, a row each: `file`, `label` (a class name), `probability`, `error`, the rest of `top_classes`.

    Images of any size and mode are scaled as the run's data were. A file that cannot be read has an error and no label,
    and does not stop the others. A file of sentences has a row for each, with its line number in `file`, and `text`.
    """
    if form_of(run) is SENTENCES:
        return _predict_lines(run, images)
    classifier = load_trained(run).to(best_device())
    facts, data = classifier.facts, run.config["data"]
    read = form(data).read
    rows = Table(_empty_row("file", path) for path in images)
    for start in range(0, len(images), batch_size):  # in batches, as a large folder may not fit in memory
        pictures, readable = [], []
        for row in rows[start : start + batch_size]:
            try:
                pictures.append(read(Path(row["file"]), facts, data))
                readable.append(row)
            except (OSError, ValueError) as error:
                row["error"] = one_line(error)
        if pictures:
            predictions = top_classes(classifier.logits(torch.cat(pictures)), classifier.classes)
            for row, prediction in zip(readable, predictions, strict=True):
                row.update(prediction)
    return rows


def _empty_row(key: str, value: object, error: str | None = None) -> dict[str, Any]:
    """Return the row of a file or text without a prediction."""
    return {key: str(value), "label": None, "probability": None, "error": error}


def _predict_lines(run: Record, files: list[Path]) -> Table:
    """Predict text files with a sentence per line, a row for each sentence."""
    rows = Table()
    for path in files:
        try:
            lines = read_sentences(path)
        except (OSError, ValueError) as error:
            rows.append(_empty_row("file", path, one_line(error)))
            continue
        for (number, text), row in zip(lines, predict_text(run, [text for _, text in lines]), strict=True):
            rows.append({"file": f"{path}:{number}", **{k: v for k, v in row.items() if k != "text"}, "text": text})
    return rows


def predict_text(run: Record, texts: Sequence[Any]) -> Table:
    """Predict sentences, a row each: `text`, `label`, `probability`, `error`, then the rest of `top_classes`.

    Words that do not occur in the training sentences are unknown to the network; words beyond its input length are cut
    off. A text without a word has an error and no label.

    Raises:
        ValueError: the run was not trained on sentences.
    """
    data = run.config["data"]
    if form(data) is not SENTENCES:
        raise ValueError(f"text=...: {run.directory} was trained on {form(data).name}s; give images=... in its place")
    classifier = load_trained(run).to(best_device())
    rows = Table(_empty_row("text", text, None if words(str(text)) else "there is no word in it") for text in texts)
    if readable := [row for row in rows if row["error"] is None]:
        ids = to_ids(as_bytes([row["text"] for row in readable]), classifier.facts, data)
        for row, prediction in zip(readable, top_classes(classifier.logits(ids), classifier.classes), strict=True):
            row.update(prediction)
    return rows


def predict_images(run: Record, images: Any) -> Table:
    """Predict images in memory, a row of `top_classes` each.

    Args:
        run: a finished run.
        images: a tensor or array (N, C, H, W), or one image (C, H, W), of the network's input size; bytes or floats
            from 0 to 1.

    Raises:
        ValueError: other shapes or values.
    """
    classifier = load_trained(run)
    expected = tuple(classifier.hparams["input_shape"])
    batch = torch.as_tensor(images)
    if batch.ndim == len(expected):
        batch = batch[None]
    if tuple(batch.shape[1:]) != expected:
        given, wanted = ("x".join(map(str, shape)) for shape in (batch.shape, ("N", *expected)))
        name = form(run.config["data"]).name
        more = "; image files may have any size" if len(expected) == 3 else ""
        raise ValueError(f"{name}s are {given}, and this network takes {wanted}{more}")
    if not batch.is_floating_point() and batch.dtype != torch.uint8:
        raise ValueError(f"images are {batch.dtype}; give bytes (uint8), or floats from 0 to 1")
    return Table(top_classes(classifier.logits(batch), classifier.classes))


def files_of(images: Any, run: Record) -> list[Path]:
    """Return the files of one or several paths; a folder stands for the examples in it.

    Raises:
        ValueError: a path does not exist, a folder has no such files, or something else than a path is given.
    """
    files: list[Path] = []
    run_form = form_of(run)
    if not run_form.suffixes:
        raise ValueError(
            f"images={images}: examples of data={run.config['data']['name']} are in no files; give Run.predict a tensor"
        )
    several = isinstance(images, Iterable) and not isinstance(images, str)
    for given in images if several else [images]:
        if not isinstance(given, (str, os.PathLike, int, float)):  # Hydra reads images=7 as a number
            raise ValueError(f"images are files and folders, or one tensor (N, C, H, W), not {type(given).__name__}")
        path = Path(str(given))
        if not path.exists():
            raise ValueError(f"images={path}: there is no such file or folder")
        found = find_files(path, run_form.suffixes) if path.is_dir() else [path]
        if not found:
            raise ValueError(f"images={path}: the folder holds no {run_form.name} files")
        files += found
    return files
