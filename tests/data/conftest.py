"""For all tests of data: no network, nothing left of what another test loaded, small files in the official formats."""

import hashlib
import pickle
import struct
from urllib.error import URLError

import numpy as np
import pytest

from cnnlab.data import load as loading
from cnnlab.data.verify import MNIST_FILES


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    def refuse(*args, **kwargs):
        raise URLError("no network in tests")

    monkeypatch.setattr("urllib.request.urlopen", refuse)
    loading.forget()


def idx(values):
    """LeCun's format: a magic number with the count of axes, their sizes, the bytes."""
    return struct.pack(f">{1 + values.ndim}I", 2048 + values.ndim, *values.shape) + values.tobytes()


@pytest.fixture
def small_mnist(tmp_path, monkeypatch):
    """Writes 20 and 10 images of MNIST or Fashion-MNIST; gives their folder and the arrays by part."""

    def write(name):
        raw, rng, arrays = tmp_path / name / "raw", np.random.default_rng(0), {}
        raw.mkdir(parents=True)
        for part, count in (("train", 20), ("t10k", 10)):
            images = rng.integers(0, 256, (count, 28, 28), dtype=np.uint8)
            arrays[part] = images, rng.permutation(count).astype(np.uint8) % 10
            for kind, array in zip(("images-idx3", "labels-idx1"), arrays[part], strict=True):
                (raw / f"{part}-{kind}-ubyte").write_bytes(idx(array))
        if name == "MNIST":
            for file in raw.iterdir():
                monkeypatch.setitem(MNIST_FILES, file.name, hashlib.md5(file.read_bytes()).hexdigest())
        return raw, arrays

    return write


@pytest.fixture
def small_cifar(tmp_path, monkeypatch):
    """Writes two training batches of 6 images and a test batch of 4 as CIFAR-10 or -100 has them; gives the arrays."""
    from torchvision import datasets

    def write(name):
        dataset, rng, arrays, listed = getattr(datasets, name), np.random.default_rng(0), {}, []
        folder = tmp_path / dataset.base_folder
        folder.mkdir()

        def put(file, content):
            (folder / file).write_bytes(pickle.dumps(content, protocol=2))
            return hashlib.md5((folder / file).read_bytes()).hexdigest()

        for file, count in (("data_batch_1", 6), ("data_batch_2", 6), ("test_batch", 4)):
            images, labels = rng.integers(0, 256, (count, 3072), dtype=np.uint8), rng.integers(0, 10, count).tolist()
            key = "fine_labels" if name == "CIFAR100" else "labels"
            listed.append([file, put(file, {"data": images, key: labels})])
            arrays[file] = images.reshape(-1, 3, 32, 32), labels
        names = [f"class {i}" for i in range(100 if name == "CIFAR100" else 10)]
        md5 = put(dataset.meta["filename"], {dataset.meta["key"]: names})
        # torchvision compares these before it unpickles anything
        monkeypatch.setattr(dataset, "train_list", listed[:2])
        monkeypatch.setattr(dataset, "test_list", listed[2:])
        monkeypatch.setattr(dataset, "meta", {**dataset.meta, "md5": md5})
        return folder, arrays

    return write
