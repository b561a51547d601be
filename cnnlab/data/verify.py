"""Check the raw files of MNIST and its kin before use; torchvision checks only the archives it downloads."""

import hashlib
from pathlib import Path

# MD5 of MNIST's unpacked files; Fashion-MNIST publishes those of its archives only: there the format is checked
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
        ValueError: the first that is not the official one, or for Fashion-MNIST not in the official format.
    """
    for file, md5 in MNIST_FILES.items():
        path = raw / file
        content = path.read_bytes()
        if name == "MNIST":
            if hashlib.md5(content, usedforsecurity=False).hexdigest() != md5:
                raise ValueError(
                    f"{path} is not the official file (its MD5 differs); delete it to have it fetched again"
                )
        elif not _is_idx(content, *next(header for kind, header in HEADERS.items() if kind in file)):
            raise ValueError(f"{path} is cut short or not in the official format; delete it to have it fetched again")


def _is_idx(content: bytes, magic: int, item: tuple[int, ...]) -> bool:
    """Whether the header fits the content, and labels are 0 to 9."""
    head = 4 * (2 + len(item))
    numbers = [int.from_bytes(content[i : i + 4], "big") for i in range(0, head, 4)]
    values = content[head:]
    size = 784 if item else 1
    fits = (
        len(content) >= head and numbers[0] == magic and tuple(numbers[2:]) == item and len(values) == numbers[1] * size
    )
    return fits and (bool(item) or max(values, default=0) <= 9)
