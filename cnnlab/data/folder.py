"""A user's own pictures: train/<class>/*.png, with val/ and test/ beside it where there are any."""

from pathlib import Path

import torch
from torch import Tensor

from cnnlab.data.images import find_images, read_image, resize


def classes_in(path: str | None) -> list[str]:
    """The class names, sorted: the folders in `path`/train.

    Raises:
        ValueError: no path, no train folder, or fewer than two classes in it.
    """
    if not path:
        raise ValueError("data=image_folder needs data.path=FOLDER with train/<class>/*.png in it")
    train = Path(path) / "train"
    if not train.is_dir():
        raise ValueError(f"data.path: there is no folder {train.absolute()}; it holds a folder for each class")
    classes = sorted(p.name for p in train.iterdir() if p.is_dir() and not p.name.startswith("."))
    if len(classes) < 2:
        raise ValueError(f"{train.absolute()} has {len(classes)} class folders; a classifier needs two or more")
    return classes


def find(path: str) -> tuple[list[str], dict[str, tuple[list[Path], Tensor]]]:
    """Class names, and for each of train, val and test that exists its picture files and their labels (N,).

    Raises:
        ValueError: a class without images, or a class that train does not have.
    """
    classes = classes_in(path)
    splits = {}
    for split in ("train", "val", "test"):
        root = Path(path) / split
        if not root.is_dir():
            continue
        files: list[Path] = []
        labels: list[int] = []
        for folder in sorted(p for p in root.iterdir() if p.is_dir() and not p.name.startswith(".")):
            if folder.name not in classes:
                raise ValueError(f"{folder.absolute()}: train has no class of this name ({', '.join(classes)})")
            found = find_images(folder)
            if not found and split == "train":
                raise ValueError(f"{folder.absolute()} holds no image; remove the folder or add images")
            files += found
            labels += [classes.index(folder.name)] * len(found)
        if not files:
            raise ValueError(f"{root.absolute()} holds no images in class folders; remove it or fill it")
        splits[split] = files, torch.tensor(labels)
    return classes, splits


def read(path: Path, channels: int, size: int) -> Tensor:
    """A picture as images (1, channels, size, size).

    Raises:
        ValueError: names the file, which is no picture.
    """
    try:
        return resize(read_image(path, channels)[None], size)
    except (OSError, ValueError) as error:
        raise ValueError(f"{path.absolute()}: {error}") from error
