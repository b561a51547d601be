"""Check the raw files of MNIST and its kin before use; torchvision checks only the archives it downloads."""

import hashlib
from pathlib import Path

# MD5 of the unpacked official files. Fashion-MNIST publishes checksums of its archives only: format and size are checked.
MD5 = {
    "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
}


def verify_mnist(raw: Path, name: str, train: bool) -> None:
    """Check images and labels of one half.

    Raises:
        ValueError: the first file that is not the official one, or for Fashion-MNIST not in the official format.
    """
    part, count = ("train", 60_000) if train else ("t10k", 10_000)
    for kind, header in (("images-idx3", (2051, count, 28, 28)), ("labels-idx1", (2049, count))):
        path = raw / f"{part}-{kind}-ubyte"
        content = path.read_bytes()
        if name == "MNIST":
            if hashlib.md5(content).hexdigest() != MD5[path.name]:
                raise ValueError(f"{path} is not the official file (MD5 differs); delete it and it is fetched again")
            continue
        size = 4 * len(header)
        found = tuple(int.from_bytes(content[i : i + 4], "big") for i in range(0, size, 4))
        values = len(content) - size
        # small files in the official format pass; the count has to agree with the length
        if found[0] != header[0] or found[2:] != header[2:] or values != found[1] * (784 if len(header) > 2 else 1):
            raise ValueError(f"{path} is not in the official format or cut short; delete it and it is fetched again")
        if len(header) == 2 and max(content[size:], default=0) > 9:
            raise ValueError(f"{path} holds labels above 9; delete it and it is fetched again")
