"""Images held once for all processes of a run on one machine."""

import os
from collections.abc import Callable
from pathlib import Path

import torch

from cnnlab.data.sources import Images, Splits, forget
from cnnlab.processes import GROUP


def held_once(prepare: Callable[[], Splits]) -> Splits:
    """What `prepare` gives; in a process group the first process does it, and all map the file it leaves.

    Files that are read on the way, and images drawn anew each epoch, are each process's own.
    """
    if GROUP not in os.environ:
        return prepare()
    path = Path(os.environ[GROUP]) / "images.pt"
    if not path.is_file():
        splits = prepare()
        parts = {"train": splits.train, "val": splits.val, "test": splits.test}
        if splits.draw or not isinstance(splits.train, Images):
            return splits
        held = {name: (p.images, p.labels) for name, p in parts.items() if isinstance(p, Images)}
        torch.save({"classes": splits.classes, "parts": held}, path)
        forget()
    content = torch.load(path, mmap=True, weights_only=True)
    images = {name: Images(*tensors) for name, tensors in content["parts"].items()}
    return Splits(content["classes"], images["train"], images.get("test"), images["val"])
