"""Pictures read on the way give the training that pictures in memory give."""

import multiprocessing

import numpy as np
import pytest
import torch
from PIL import Image

import cnnlab
from cnnlab.training.datamodule import DataModule


@pytest.fixture
def pictures(tmp_path):
    """Two classes, twenty pictures of different sizes each."""
    rng = np.random.default_rng(0)
    for label, name in enumerate(("dark", "light")):
        folder = tmp_path / "pictures/train" / name
        folder.mkdir(parents=True)
        for i in range(20):
            size = tuple(rng.integers(12, 30, 2))
            Image.fromarray(rng.integers(0, 128, size, dtype=np.uint8) + 128 * label).save(folder / f"{i}.png")
    return tmp_path / "pictures"


def overrides(pictures, stream):
    images = ["data=image_folder", f"data.path={pictures}", "data.resize=16", "data.channels=1", "data.trim=2"]
    return [*images, f"data.stream={stream}", "data.batch_size=8", "augment=flip_crop", "data.val_size=0.2"]


def test_batches_are_the_same_from_files_as_from_memory(pictures, composed):
    modules = []
    for stream in ("null", 2):
        config = composed(*overrides(pictures, stream))
        module = DataModule(config["data"], config["augment"], seed=3)
        module.setup()
        modules.append(module)
    memory, stream = modules
    assert (memory.mean, memory.std) == (stream.mean, stream.std)
    assert torch.equal(memory.val.inputs, stream.val.inputs)
    batches = [list(module.train_dataloader()) for module in modules]
    assert len(batches[0]) == len(batches[1]) == 4
    for (images, labels), (images_, labels_) in zip(*batches, strict=True):
        assert torch.equal(images, images_)
        assert torch.equal(labels, labels_)


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_run_learns_from_files(pictures, tmp_path):
    quick = ["model=mlp", "trainer=cpu", "trainer.max_epochs=3", f"output_dir={tmp_path}"]
    runs = [cnnlab.fit([*overrides(pictures, stream), *quick]) for stream in ("null", 2)]
    weights = [run.network("last").state_dict() for run in runs]
    assert all(torch.equal(a, b) for a, b in zip(*(w.values() for w in weights), strict=True))
    assert runs[1].metrics["val/acc"] == 1


def test_a_picture_that_cannot_be_read_ends_the_run_in_one_line(command, pictures):
    broken = pictures / "train/dark/broken.png"
    broken.write_bytes(b"\x89PNG")
    done = command("train", *overrides(pictures, 1), "data.val_size=1", "trainer=cpu", "model=mlp", "model.width=0.1")
    assert done.status == 1
    assert f"{broken}: cannot identify image file" in done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    assert not multiprocessing.active_children()  # the readers are gone
