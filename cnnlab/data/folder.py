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


def load(path: str, channels: int, size: int) -> tuple[list[str], dict[str, tuple[Tensor, Tensor]]]:
    """Class names, and for each of train, val and test that exists its images (N, C, size, size) and labels (N,).

    Raises:
        ValueError: a class without images, a class that train does not have, a file that is no picture.
    """
    if channels not in (1, 3):
        raise ValueError(f"data.channels is 1 (grey) or 3 (RGB), not {channels}")
    classes = classes_in(path)
    splits = {}
    for split in ("train", "val", "test"):
        root = Path(path) / split
        if not root.is_dir():
            continue
        images, labels = [], []
        for folder in sorted(p for p in root.iterdir() if p.is_dir() and not p.name.startswith(".")):
            if folder.name not in classes:
                raise ValueError(f"{folder.absolute()}: train has no class of this name ({', '.join(classes)})")
            files = find_images(folder)
            if not files and split == "train":
                raise ValueError(f"{folder.absolute()} holds no image; remove the folder or add images")
            for file in files:
                try:
                    images.append(resize(read_image(file, channels)[None], size))
                except (OSError, ValueError) as error:
                    raise ValueError(f"{file.absolute()}: {error}") from error
                labels.append(classes.index(folder.name))
        if not images:
            raise ValueError(f"{root.absolute()} holds no images in class folders; remove it or fill it")
        splits[split] = torch.cat(images), torch.tensor(labels)
    return classes, splits
