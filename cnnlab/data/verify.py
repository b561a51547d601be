"""Check the raw files of MNIST and Fashion-MNIST before use; torchvision checks only the archives it downloads."""

import hashlib
from math import prod
from pathlib import Path

# MD5 of MNIST's unpacked files; Fashion-MNIST publishes only those of its archives, so that its format is checked
MNIST_FILES = {
    "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
}
HEADERS = {"images-idx3": (2051, (28, 28)), "labels-idx1": (2049, ())}  # magic number, size of one item


def verify_mnist(raw: Path, name: str) -> None:
    """Check the four files in a folder.

    Raises:
        ValueError: a file is not the official one, or for Fashion-MNIST not in the official format; names the first.
    """
    counts: dict[str, int] = {}
    for file, md5 in MNIST_FILES.items():
        path, part = raw / file, file.partition("-")[0]
        content = path.read_bytes()
        if name == "MNIST":
            if hashlib.md5(content, usedforsecurity=False).hexdigest() != md5:
                raise ValueError(f"{path} is not the official file (MD5 differs); delete it to have it fetched again")
            continue
        count = _items(content, *next(header for kind, header in HEADERS.items() if kind in file))
        if count is None or counts.setdefault(part, count) != count:
            raise ValueError(f"{path} is cut short or not in the official format; delete it to have it fetched again")


def _items(content: bytes, magic: int, item: tuple[int, ...]) -> int | None:
    """Count images or labels if the header fits the content and labels are 0 to 9, else return None."""
    head = 4 * (2 + len(item))
    numbers = [int.from_bytes(content[i : i + 4], "big") for i in range(0, head, 4)]
    values = content[head:]
    fits = len(content) >= head and numbers[0] == magic and tuple(numbers[2:]) == item
    fits = fits and len(values) == numbers[1] * prod(item) and (bool(item) or max(values, default=0) <= 9)
    return numbers[1] if fits else None
