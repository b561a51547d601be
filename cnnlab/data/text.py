"""Sentences: split text into words, and map words to ids by a vocabulary of training sentences."""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from cnnlab.data.forms import Config, Facts, Form, refuse_image_keys

RESERVED = ("<pad>", "<unk>")  # ids 0 and 1: padding behind the end of a sentence, and words not in the vocabulary

# each match is a word; text that is split as in the Penn Treebank stays as it is
_WORD = re.compile(
    r"""n't\b | \w+?(?=n't\b)                     # is n't
      | '(?:s|m|d|t|re|ve|ll|\d+s?)\b             # 's, '70s
      | \d+(?:[.,:/]\d+)+ | (?:[^\W\d_]\.){2,}    # 1,000 or 8:30; U.S.
      | \w+(?:[-&]\w+)*                           # word, well-known
      | ([^\w\s])\1*                              # punctuation: ? or ...""",
    re.VERBOSE | re.IGNORECASE,
)


def words(text: str, lower: bool = True) -> list[str]:
    """Split a text into words, numbers and punctuation; clitics are words of their own, as in "is n't"."""
    text = unicodedata.normalize("NFC", text).replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")
    return [found[0] for found in _WORD.finditer(text.lower() if lower else text)]


def as_bytes(texts: Sequence[str]) -> Tensor:
    """Encode texts as UTF-8 bytes (N, length of the longest), padded with zeros."""
    encoded = [text.encode(errors="replace") for text in texts]
    table = np.zeros((len(encoded), max(map(len, encoded), default=0)), np.uint8)
    for row, values in zip(table, encoded, strict=True):
        row[: len(values)] = np.frombuffer(values, np.uint8)
    return torch.from_numpy(table)


def as_texts(inputs: Tensor) -> list[str]:
    """Decode texts that `as_bytes` has encoded."""
    return [bytes(row).rstrip(b"\0").decode(errors="replace") for row in inputs.cpu().numpy()]


def vocabulary(sentences: Iterable[Sequence[str]], min_count: int) -> tuple[str, ...]:
    """Return RESERVED and the words of sentences, most frequent first, without those that occur too rarely."""
    counted = Counter(word for sentence in sentences for word in sentence)
    kept = sorted((-count, word) for word, count in counted.items() if count >= min_count)
    return (*RESERVED, *(word for _, word in kept))


def text_facts(texts: Sequence[str], classes: int, config: Config) -> Facts:
    """Return the facts of training sentences: length in words, number of classes, vocabulary.

    Args:
        texts: the training sentences, without those held out.
        classes: number of classes.
        config: `length`, `min_count` and `lower` of a data config.

    Raises:
        ValueError: an option of the wrong type.
    """
    for key in ("length", "min_count"):
        value = config[key]
        if (value is not None or key == "min_count") and (type(value) is not int or value < 1):
            or_null = ", or null" * (key == "length")
            raise ValueError(f"data.{key} must be a whole number of at least 1{or_null}, not {value!r}")
    for key in ("lower", "permute_words"):
        if not isinstance(config[key], bool):
            raise ValueError(f"data.{key} is true or false, not {config[key]!r}")
    sentences = [words(text, config["lower"]) for text in texts]
    length = config["length"] or max(map(len, sentences))
    return Facts((length,), classes, vocabulary((s[:length] for s in sentences), config["min_count"]))


def groups(texts: Sequence[str], lower: bool) -> Tensor:
    """Number sentences (N,) from 0, with the same number for sentences of the same words."""
    known: dict[tuple[str, ...], int] = {}
    return torch.tensor([known.setdefault(tuple(words(text, lower)), len(known)) for text in texts])


def to_ids(inputs: Tensor, facts: Facts, config: Config) -> Tensor:
    """Map texts as bytes (N, ...) to word ids (N, length), cut or padded at the end, and permuted if configured."""
    (length,), known = facts.shape, {word: number for number, word in enumerate(facts.vocabulary)}
    unknown = RESERVED.index("<unk>")
    ids = np.zeros((len(inputs), length), np.int64)
    for row, text in zip(ids, as_texts(inputs), strict=True):
        found = [known.get(word, unknown) for word in words(text, config["lower"])[:length]]
        row[: len(found)] = found
    tensor = torch.from_numpy(ids)
    return tensor[:, word_order(length)] if config["permute_words"] else tensor


def word_order(length: int) -> Tensor:
    """Return the fixed permutation of positions (length,) of `data.permute_words`."""
    return torch.randperm(length, generator=torch.Generator().manual_seed(0))


def read_lines(path: Path, encoding: str = "utf-8-sig") -> list[str]:
    """Read the lines of a text file.

    Raises:
        OSError: the file cannot be read.
        ValueError: bytes that are not in this encoding; names file and line.
    """
    content = path.read_bytes()
    try:
        return [line.removesuffix("\r") for line in content.decode(encoding).split("\n")]
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ValueError(
            f"{path}, line {line}: byte 0x{content[error.start]:02x} is not UTF-8; save the file as UTF-8"
        ) from error


def read_sentences(path: Path) -> list[tuple[int, str]]:
    """Read line number, from 1, and text of each line that is not blank; in a .tsv file the text behind the first tab.

    Raises:
        OSError, ValueError: as `read_lines`; or there is no sentence.
    """
    lines = read_lines(path)
    if path.suffix.lower() == ".tsv":
        lines = [line.partition("\t")[2] or line for line in lines]
    found = [(number, line.strip()) for number, line in enumerate(lines, 1) if line.strip()]
    if not found:
        raise ValueError("holds no sentence; write one a line")
    return found


def read_file(path: Path, facts: Facts, config: Config) -> Tensor:
    """Read the sentences of a file as inputs of a network, (N, length)."""
    return to_ids(as_bytes([text for _, text in read_sentences(path)]), facts, config)


SENTENCES = Form("sentence", ("position",), frozenset({".txt", ".tsv"}), refuse_image_keys, to_ids, read_file)
