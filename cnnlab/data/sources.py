"""Data sources: each loads tensors, and knows their shape and number of classes before it does.

To add a dataset, write a loader, add it to SOURCES and give it a `conf/data/NAME.yaml`.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock
from torch import Tensor

from cnnlab.data import folder, points, spoken_digits, text_files, xo
from cnnlab.data.examples import Examples, Splits, in_memory
from cnnlab.data.fetch import fetch, found_or_fetched, lock
from cnnlab.data.forms import Config, Form
from cnnlab.data.images import PICTURES
from cnnlab.data.sound import SOUNDS, read_sound, samples_of
from cnnlab.data.stream import Files
from cnnlab.data.text import SENTENCES, as_bytes, groups
from cnnlab.data.verify import verify_mnist
from cnnlab.registry import check_options, pick


@dataclass(frozen=True)
class Source:
    """How to load one dataset, and its facts, which need no files unless they are the user's own."""

    load: Callable[[Config], Splits]
    # shape of one example as loaded, number of classes; of sentences the shape as ids, and also the vocabulary
    facts: Callable[[Config], tuple[Any, ...]]
    # changes with the files, where a user may change them between two runs of one process
    fingerprint: Callable[[Config], str | None] = lambda config: None
    classes: Callable[[Config], list[str]] | None = None  # class names, if known without reading examples
    form: Form = PICTURES


def _mnist(config: Config, name: str) -> Splits:
    """Load MNIST (LeCun et al. 1998) or Fashion-MNIST (Xiao et al. 2017) from torchvision's files."""
    from torchvision import datasets
    from torchvision.datasets import mnist

    dataset = getattr(datasets, name)
    raw = Path(config["dir"]) / name / "raw"
    with found_or_fetched(config, f"{name}/raw/*-ubyte"):
        try:
            verify_mnist(raw, name)
        except FileNotFoundError:
            fetch(config, name, dataset)
            verify_mnist(raw, name)
        except ValueError:  # altered, or being unpacked by another process
            if not lock(config, name).exists():
                raise
            with FileLock(lock(config, name)):
                verify_mnist(raw, name)
        parts = {
            part: Examples(
                mnist.read_image_file(str(raw / f"{part}-images-idx3-ubyte")).unsqueeze(1),
                mnist.read_label_file(str(raw / f"{part}-labels-idx1-ubyte")),
            )
            for part in ("train", "t10k")
        }
    classes = [c.split(" - ")[0] for c in dataset.classes]  # torchvision calls the digit 3 "3 - three"
    return Splits(classes, parts["train"], parts["t10k"])


def _cifar(config: Config, name: str) -> Splits:
    """Load CIFAR-10 or CIFAR-100 (Krizhevsky 2009); torchvision unpickles a batch only if its MD5 matches."""
    from torchvision import datasets

    dataset = getattr(datasets, name)
    with found_or_fetched(config, dataset.base_folder):
        try:
            parts = {train: dataset(config["dir"], train) for train in (True, False)}
        except RuntimeError:  # not found or corrupted
            fetch(config, name, dataset)
            parts = {train: dataset(config["dir"], train) for train in (True, False)}
    splits = {
        k: Examples(torch.from_numpy(np.ascontiguousarray(v.data.transpose(0, 3, 1, 2))), torch.tensor(v.targets))
        for k, v in parts.items()
    }
    return Splits(list(parts[True].classes), splits[True], splits[False])


# a bit per image, 1 for test, as drawn by train_test_split(test_size=0.2, stratify=labels, random_state=0)
DIGITS_TEST = (
    "000004883524104000064100934205001a00080100240028062c12001000940a009019120420f8a0028110a000080a882044"
    "1524494240a00a0000004004d80000818020004805c400104008a0100005404800301000020ec409000224840083a8013c20"
    "a6980a0000000b08400804a0184802024041c1008004404684376a810216004480004042a0a4180a5000840b8561c6081080"
    "08004c80c02004068e00010882008100380803c008190000100e01008410a0210033282904c044c080680e01028300820088"
    "22a6402c24042108a860809081a00c02820242120138a41500"
)


def _digits(config: Config) -> Splits:
    """Load scikit-learn's UCI handwritten digits: 1,797 images of 8x8, a fifth of each class for test."""
    spec = find_spec("sklearn")  # only its place: an import may take longer than training
    assert spec is not None
    assert spec.submodule_search_locations is not None
    rows = np.loadtxt(Path(spec.submodule_search_locations[0]) / "datasets/data/digits.csv.gz", delimiter=",")
    images = torch.from_numpy((rows[:, :64] * (255 / 16)).round().astype(np.uint8)).view(-1, 1, 8, 8)
    labels = torch.from_numpy(rows[:, 64]).long()
    everything = Examples(images, labels)
    test = torch.from_numpy(np.unpackbits(np.frombuffer(bytes.fromhex(DIGITS_TEST), np.uint8))[: len(labels)] == 1)
    return Splits([str(d) for d in range(10)], everything.part(~test), everything.part(test))


def _xo(config: Config) -> Splits:
    def draw(count: int, stream: int) -> Examples:
        return Examples(*xo.draw(count, stream, **config["draw"]))

    # streams: 0 test, 1 validation, then one for every epoch
    return Splits(
        ["X", "O"],
        train=draw(config["train_size"], 2),
        val=draw(config["test_size"], 1),
        test=draw(config["test_size"], 0),
        draw=lambda epoch: draw(config["train_size"], 2 + epoch),
    )


def _xo_facts(config: Config) -> tuple[tuple[int, int, int], int]:
    known = {p.name: p.default for p in inspect.signature(xo.draw).parameters.values()}
    for key in ("train_size", "test_size"):
        if not isinstance(config[key], int) or config[key] < 1:
            raise ValueError(f"data.{key} must be a whole number of at least 1, not {config[key]!r}")
    check_options("data.draw", config["draw"], known)
    for key, value in config["draw"].items():
        if not isinstance(value, int if key == "seed" else (int, float)):
            kind = "a whole number" if key == "seed" else "a number"
            raise ValueError(f"data.draw.{key} is {kind}, not {value!r}")
    return (1, xo.SIZE, xo.SIZE), 2


def _points(config: Config) -> Splits:
    def draw(count: int, stream: int) -> Examples:
        return Examples(*points.draw(config["kind"], count, stream, config["noise"], config["draw_seed"]))

    train, val, test = draw(config["train_size"], 2), draw(config["test_size"], 1), draw(config["test_size"], 0)
    return Splits(list(points.CLASSES), train, test, val)


def _folder(config: Config, read: Callable[[Path], Tensor]) -> Splits:
    """Load a user's files from class folders; `read` returns one of them, with a batch axis."""
    dataset, workers = source(config), config["stream"]
    dataset.facts(config)  # refuses an invalid config before files are read
    assert dataset.classes is not None
    classes = dataset.classes(config)
    files = {
        split: Files(*part, read, workers or 0)
        for split, part in folder.find(config["path"], classes, dataset.form).items()
    }
    parts = {split: in_memory(part) for split, part in files.items() if split != "train" or not workers}
    return Splits(classes, parts.get("train", files["train"]), parts.get("test"), parts.get("val"))


def _images(config: Config) -> Splits:
    whole, size = config.get("crop") is None, config["resize"]
    return _folder(config, partial(folder.read, channels=config["channels"], size=size, whole=whole))


def _images_facts(config: Config) -> tuple[tuple[int, int, int], int]:
    if config["channels"] not in (1, 3):
        raise ValueError(f"data.channels is 1 (grey) or 3 (RGB), not {config['channels']}")
    size = config["resize"]
    if not isinstance(size, int) or size < 1:
        raise ValueError(f"data=image_folder: data.resize must be the height and width all images get, not {size!r}")
    return (config["channels"], size, size), len(folder.classes_of(config))


def _spoken_digits(config: Config) -> Splits:
    """Load the Free Spoken Digit Dataset; test are the recordings of `held_out`, else its authors' choice."""
    (_, samples), _ = spoken_digits.facts(config)
    with found_or_fetched(config, "spoken-digits/recordings/*.wav"):
        place = Path(config["dir"]) / "spoken-digits"
        waveforms, labels, test = spoken_digits.load(place, config["rate"], samples, config["held_out"])
    everything = Examples(waveforms, labels)
    return Splits([str(d) for d in range(10)], everything.part(~test), everything.part(test))


def _text(config: Config) -> Splits:
    """Load sentences as UTF-8 bytes (N, length of the longest), which SENTENCES turns into word ids."""
    read = text_files.read(config)
    classes = sorted(set(read["train"].labels))
    parts = {
        split: Examples(as_bytes(part.texts), torch.tensor([classes.index(label) for label in part.labels]))
        for split, part in read.items()
    }
    return Splits(
        text_files.names_of(read, config),
        parts["train"],
        parts.get("test"),
        parts.get("val"),
        groups=groups(read["train"].texts, config["lower"]),
        remark=text_files.repeated(read, config["lower"]),
    )


XO = Source(_xo, _xo_facts)
TEXT = Source(_text, text_files.facts_of, text_files.fingerprint, text_files.classes_of, SENTENCES)
SOURCES: dict[str, Source] = {
    "mnist": Source(lambda c: _mnist(c, "MNIST"), lambda c: ((1, 28, 28), 10)),
    "fashion_mnist": Source(lambda c: _mnist(c, "FashionMNIST"), lambda c: ((1, 28, 28), 10)),
    "cifar10": Source(lambda c: _cifar(c, "CIFAR10"), lambda c: ((3, 32, 32), 10)),
    "cifar100": Source(lambda c: _cifar(c, "CIFAR100"), lambda c: ((3, 32, 32), 100)),
    "digits": Source(_digits, lambda c: ((1, 8, 8), 10)),
    "xo": XO,
    "xo_tricky": XO,  # the same with distortions; its own name appears in directories and results
    "points": Source(_points, points.facts, form=points.POINTS),
    "image_folder": Source(
        _images, _images_facts, lambda c: folder.fingerprint(c["path"], PICTURES.suffixes), folder.classes_of
    ),
    "spoken_digits": Source(_spoken_digits, spoken_digits.facts, form=SOUNDS),
    "sound_folder": Source(
        lambda c: _folder(c, partial(read_sound, config=c)),
        lambda c: ((1, samples_of(c)), len(folder.classes_of(c))),
        lambda c: folder.fingerprint(c["path"], SOUNDS.suffixes),
        folder.classes_of,
        SOUNDS,
    ),
    **dict.fromkeys(text_files.CORPORA, TEXT),
}


def source(config: Config) -> Source:
    """Return the source that a data config names.

    Raises:
        ValueError: an unknown name.
    """
    return pick(SOURCES, config["name"], "data source")
