"""Find a user's own files: train/<class>/*.png or *.wav, and val/ and test/ where they exist."""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from cnnlab.data.forms import Config, Form, find_files
from cnnlab.data.images import centre_crop, read_image, resize

SPLITS = ("train", "val", "test")
EXAMPLES = {"image_folder": "*.png", "sound_folder": "*.wav"}  # a pattern of files for each source, for messages


def classes_of(config: Config) -> list[str]:
    """Return the class names of a data config, sorted: the folders in `path`/train.

    Raises:
        ValueError: no path, no train folder, or fewer than two classes in it.
    """
    if not (path := config["path"]):
        name = config["name"]
        raise ValueError(f"data={name} needs data.path=FOLDER with train/<class>/{EXAMPLES[name]} in it")
    train = Path(path) / "train"
    if not train.is_dir():
        raise ValueError(f"data.path: there is no folder {train.absolute()}; it holds a folder for each class")
    classes = [folder.name for folder in _class_folders(train)]
    if len(classes) < 2:
        raise ValueError(f"{train.absolute()} has {len(classes)} class folders; a classifier needs two or more")
    return classes


def _class_folders(split: Path) -> list[Path]:
    return sorted(p for p in split.iterdir() if p.is_dir() and not p.name.startswith("."))


def fingerprint(path: str | None, suffixes: frozenset[str]) -> str | None:
    """Digest a folder without reading files: class folders, and names, sizes and times of files with these suffixes.

    Two digests are equal only if `find` and `read` return the same. Takes one stat call per file.
    """
    if not isinstance(path, str):
        return None
    root = Path(path).absolute()  # absolute, because the working directory may change
    entries = sorted(entry for name in SPLITS if (root / name).is_dir() for entry in _entries(root / name, suffixes))
    return hashlib.sha256(repr((str(root), entries)).encode()).hexdigest()


def _entries(split: Path, suffixes: frozenset[str]) -> Iterator[tuple[str, int, int, int]]:
    """Yield path, size and times of a split, its class folders and its files; 0 for folders.

    The inode's change time tells files that were moved or copied with their old modification time.
    """
    endings = tuple(suffixes)
    yield str(split), 0, 0, 0
    for folder in _class_folders(split):
        yield str(folder), 0, 0, 0
        for directory, _, names in os.walk(folder):
            for name in names:
                if name.lower().endswith(endings):
                    file = f"{directory}/{name}"
                    try:
                        found = os.stat(file)  # noqa: PTH116  # a Path takes twice as long
                    except FileNotFoundError:  # a broken link, or deleted at this moment
                        continue
                    yield file, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def find(path: str, classes: list[str], form: Form) -> dict[str, tuple[list[Path], Tensor]]:
    """Return, for each existing split, its files of a form and their labels (N,), which are indices into `classes`.

    Raises:
        ValueError: a class without examples, or a class that train does not have.
    """
    splits = {}
    for split in SPLITS:
        root = Path(path) / split
        if not root.is_dir():
            continue
        files: list[Path] = []
        labels: list[int] = []
        for folder in _class_folders(root):
            if folder.name not in classes:
                raise ValueError(f"{folder.absolute()}: train has no class of this name ({', '.join(classes)})")
            found = find_files(folder, form.suffixes)
            if not found and split == "train":
                raise ValueError(f"{folder.absolute()} holds no {form.name}; remove the folder or add {form.name}s")
            files += found
            labels += [classes.index(folder.name)] * len(found)
        if not files:
            raise ValueError(f"{root.absolute()} holds no {form.name}s in class folders; remove it or fill it")
        splits[split] = files, torch.tensor(labels)
    return splits


def read(path: Path, channels: int, size: int, whole: bool = True) -> Tensor:
    """Read an image as (1, channels, size, size): resized as a whole, or scaled and cropped at its centre.

    Raises:
        ValueError: not an image; names the file.
    """
    try:
        if whole:
            return resize(read_image(path, channels)[None], size)
        return centre_crop(read_image(path, channels, size)[None], (size, size))
    except (OSError, ValueError) as error:
        raise ValueError(f"{path.absolute()}: {error}") from error
