"""Hold examples once for all processes of a run on one machine."""

from collections.abc import Callable
from pathlib import Path

import torch

from cnnlab.data.examples import Examples, Splits
from cnnlab.data.load import forget
from cnnlab.distributed.world import shared_file


def held_once(prepare: Callable[[], Splits]) -> Splits:
    """Return the result of `prepare`, which one process per machine calls and saves; all map the file into memory.

    Streamed files, and examples drawn anew each epoch, are not shared.
    """
    own: Splits | None = None

    def write(path: Path) -> bool:
        nonlocal own
        own = splits = prepare()
        if splits.draw or not isinstance(splits.train, Examples):
            return False
        parts = {"train": splits.train, "val": splits.val, "test": splits.test}
        held = {name: (p.inputs, p.labels) for name, p in parts.items() if isinstance(p, Examples)}
        torch.save({"classes": splits.classes, "parts": held}, path)
        forget()
        return True

    path = shared_file("images.pt", write)
    if path is None:
        return own or prepare()
    content = torch.load(path, mmap=True, weights_only=True)
    parts = {name: Examples(*tensors) for name, tensors in content["parts"].items()}
    return Splits(content["classes"], parts["train"], parts.get("test"), parts["val"])
