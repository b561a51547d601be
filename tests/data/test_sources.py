import gc
import os
import pickle
import shutil
import weakref
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import cnnlab
from cnnlab.data import load as loading
from cnnlab.data import sources
from cnnlab.data.splits import sizes, statistics
from cnnlab.data.verify import MNIST_FILES
from cnnlab.training.datamodule import DataModule


def load(name, directory):
    loading.forget()  # the test may have changed the files
    return loading.load({"name": name, "dir": str(directory)})


def refusal(name, directory):
    """The one line a person gets."""
    with pytest.raises(ValueError, match=r"\A.+\Z") as caught:
        load(name, directory)
    return str(caught.value)


# --- the official files


@pytest.mark.real_data
def test_mnist(real_data_dir):
    splits = load("mnist", real_data_dir)
    assert splits.classes == [str(d) for d in range(10)]
    assert splits.train.inputs.shape == (60_000, 1, 28, 28)
    assert splits.test.inputs.shape == (10_000, 1, 28, 28)
    assert splits.train.labels.bincount().tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert splits.train.labels[:5].tolist() == [5, 0, 4, 1, 9]
    assert splits.test.labels[:5].tolist() == [7, 2, 1, 0, 4]
    mean, std = statistics(splits.train)
    assert (mean[0], std[0]) == pytest.approx((0.1307, 0.3081), abs=5e-5)  # as everybody quotes them


@pytest.mark.real_data
def test_cifar10(real_data_dir):
    splits = load("cifar10", real_data_dir)
    assert splits.classes == ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
    assert splits.train.inputs.shape == (50_000, 3, 32, 32)
    assert splits.test.inputs.shape == (10_000, 3, 32, 32)
    assert splits.train.labels.bincount().tolist() == [5000] * 10
    assert [splits.classes[i] for i in splits.train.labels[:4]] == ["frog", "truck", "truck", "deer"]
    mean, std = statistics(splits.train)
    assert mean == pytest.approx([0.4914, 0.4822, 0.4465], abs=5e-5)
    assert std == pytest.approx([0.2470, 0.2435, 0.2616], abs=5e-5)


# --- small files in the official format


@pytest.mark.parametrize(("source", "name"), [("mnist", "MNIST"), ("fashion_mnist", "FashionMNIST")])
def test_idx_files(source, name, small_mnist, tmp_path):
    _, arrays = small_mnist(name)
    splits = load(source, tmp_path)
    for part, (images, labels) in ((splits.train, arrays["train"]), (splits.test, arrays["t10k"])):
        assert np.array_equal(part.inputs[:, 0], images)
        assert np.array_equal(part.labels, labels)
    assert splits.classes[3] == {"mnist": "3", "fashion_mnist": "Dress"}[source]


@pytest.mark.parametrize(("source", "name"), [("cifar10", "CIFAR10"), ("cifar100", "CIFAR100")])
def test_cifar_files(source, name, small_cifar, tmp_path):
    _, arrays = small_cifar(name)
    splits = load(source, tmp_path)
    for part, batches in ((splits.train, ["data_batch_1", "data_batch_2"]), (splits.test, ["test_batch"])):
        assert np.array_equal(part.inputs, np.concatenate([arrays[b][0] for b in batches]))  # C, H, W in this order
        assert part.labels.tolist() == [label for b in batches for label in arrays[b][1]]
    assert len(splits.classes) == loading.facts({"name": source})[1]


def test_a_cifar_batch_that_was_altered_is_never_unpickled(small_cifar, tmp_path):
    class Trap:
        def __reduce__(self):
            return os.mkdir, (str(canary),)

    folder, _ = small_cifar("CIFAR10")
    canary = tmp_path / "unpickled"
    trap = pickle.dumps(Trap(), protocol=2)
    pickle.loads(trap)
    canary.rmdir()  # it would have gone off
    for file in ("data_batch_2", "test_batch", "batches.meta"):
        kept = (folder / file).read_bytes()
        (folder / file).write_bytes(trap)
        message = refusal("cifar10", tmp_path)
        assert "cifar-10-batches-py" in message
        assert str(tmp_path) in message
        assert not canary.exists()
        (folder / file).write_bytes(kept)
    load("cifar10", tmp_path)  # and whole again


@pytest.mark.parametrize("name", ["MNIST", "FashionMNIST"])
@pytest.mark.parametrize("file", sorted(MNIST_FILES))
def test_damaged_idx_files_are_named(name, file, small_mnist, tmp_path):
    raw, _ = small_mnist(name)
    whole = (raw / file).read_bytes()
    last = bytes([whole[-1] ^ 1])
    # one other pixel or label shows only where there are checksums
    altered = [whole[:-1] + last] if name == "MNIST" else []
    for damaged in (b"", whole[:3], whole[:4], whole[:9], whole[:-1], whole + b"\0", b"\1" + whole[1:], *altered):
        (raw / file).write_bytes(damaged)
        assert str(raw / file) in refusal({"MNIST": "mnist"}.get(name, "fashion_mnist"), tmp_path)


@pytest.mark.parametrize("labels", [[10] * 20, [0] * 19, [0] * 21])
def test_fashion_labels_that_do_not_fit_the_images_are_refused(labels, small_mnist, tmp_path):
    raw, _ = small_mnist("FashionMNIST")
    (raw / "train-labels-idx1-ubyte").write_bytes(b"\0\0\x08\x01" + len(labels).to_bytes(4, "big") + bytes(labels))
    assert "train-labels-idx1-ubyte" in refusal("fashion_mnist", tmp_path)


def test_what_old_torchvision_left_in_processed_does_not_replace_the_verified_files(small_mnist, tmp_path):
    _, arrays = small_mnist("MNIST")
    (tmp_path / "MNIST/processed").mkdir()
    for file in ("training.pt", "test.pt"):
        torch.save((torch.zeros(3, 28, 28, dtype=torch.uint8), torch.zeros(3)), tmp_path / "MNIST/processed" / file)
    assert np.array_equal(load("mnist", tmp_path).train.inputs[:, 0], arrays["train"][0])


@pytest.mark.parametrize(
    ("source", "missing"),
    [
        ("mnist", "MNIST/raw"),
        ("fashion_mnist", "FashionMNIST/raw"),
        ("cifar10", "cifar-10-batches-py"),
        ("cifar100", "cifar-100-python"),
    ],
)
def test_without_files_and_network_one_line_says_what_to_do(source, missing, tmp_path):
    message = refusal(source, tmp_path / "new")
    for part in (f"data={source}", missing, str(tmp_path / "new"), "data_dir=", "data=digits"):
        assert part in message


def test_a_download_that_fails_without_a_word_is_one_line_too(monkeypatch, tmp_path):
    def hang_up(*args, **kwargs):
        raise TimeoutError  # its text is empty

    monkeypatch.setattr("urllib.request.urlopen", hang_up)
    assert "data=digits" in refusal("cifar10", tmp_path)


def test_reading_writes_nothing(small_mnist, small_cifar, tmp_path):
    # a data folder may be read-only; modes alone would prove nothing to root
    small_mnist("FashionMNIST")
    small_cifar("CIFAR100")
    folders = [tmp_path, *(p for p in tmp_path.rglob("*") if p.is_dir())]

    def state():
        return {p: (p.stat().st_mtime_ns, p.stat().st_size) for p in [tmp_path, *tmp_path.rglob("*")]}

    for folder in folders:
        folder.chmod(0o555)
    before = state()
    load("fashion_mnist", tmp_path)
    load("cifar100", tmp_path)
    assert state() == before
    for folder in folders:
        folder.chmod(0o755)


# --- digits


def test_digits_split_is_fixed_stratified_and_disjoint():
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    torch.manual_seed(5)
    splits = load("digits", "unused")
    assert (len(splits.train), len(splits.test)) == (1437, 360)
    # results are comparable only as long as these stay the same images
    data = load_digits()
    _, test = train_test_split(np.arange(1797), test_size=0.2, stratify=data.target, random_state=0)
    drawn = np.round(data.data[np.sort(test)] * 255 / 16).astype(np.uint8)
    assert np.array_equal(splits.test.inputs.flatten(1).numpy(), drawn)
    share = splits.test.labels.bincount() / (splits.train.labels.bincount() + splits.test.labels.bincount())
    assert ((share - 0.2).abs() < 0.005).all()
    both = torch.cat([splits.train.inputs, splits.test.inputs]).flatten(1).tolist()
    expected = np.round(data.data * 255 / 16).astype(np.uint8).tolist()
    assert sorted(both) == sorted(expected)  # every image once: none in both


# --- image folders


def pictures(root, *folders, size=(9, 7)):
    """Two pictures in every folder, each of one colour, 40 for the first folder, 41, ..."""
    for number, folder in enumerate(folders):
        (root / folder).mkdir(parents=True)
        for name in ("a.png", "B.PNG"):
            Image.new("RGB", size, (40 + number, 0, 0)).save(root / folder / name)
    return root


def test_image_folder_with_val_and_test(composed, tmp_path):
    pictures(tmp_path, "train/cat", "train/dog", "val/dog", "test/cat", "test/dog")
    (tmp_path / "train/cat/notes.txt").write_text("no picture")
    config = composed("data=image_folder", f"data.path={tmp_path}", "data.resize=5")["data"]
    module = DataModule(config)
    module.setup()
    assert (module.classes, *module.facts[:2]) == (["cat", "dog"], (3, 5, 5), 2)
    for data, reds, labels in (
        (module.train, [40, 40, 41, 41], [0, 0, 1, 1]),
        (module.val, [42, 42], [1, 1]),  # class 1, though its folder is val's first
        (module.test, [43, 43, 44, 44], [0, 0, 1, 1]),
    ):
        assert data.inputs[:, 0, 0, 0].tolist() == reds
        assert data.inputs[:, 1:].max() == 0
        assert data.labels.tolist() == labels


def test_image_folder_without_val_and_test(composed, tmp_path):
    pictures(tmp_path, "train/cat", "train/dog")
    module = DataModule(
        composed("data=image_folder", f"data.path={tmp_path}", "data.channels=1", "data.val_size=1")["data"]
    )
    module.setup()
    assert module.train.inputs.shape == (3, 1, 64, 64)
    assert (len(module.train), len(module.val), module.test) == (3, 1, None)
    with pytest.raises(ValueError, match="data=image_folder has no test images"):
        module.test_dataloader()


def test_image_folder_errors(composed, tmp_path):
    def message(path, *overrides):
        loading.forget()
        with pytest.raises(ValueError, match=r"\A.+\Z") as caught:
            loading.load(composed("data=image_folder", f"data.path={path}", *overrides)["data"])
        return str(caught.value)

    assert "data.path=FOLDER" in message("null")
    assert str(tmp_path / "none") in message(tmp_path / "none")
    assert "1 class folders" in message(pictures(tmp_path / "one", "train/cat"))
    root = pictures(tmp_path / "good", "train/cat", "train/dog")
    assert "data.channels" in message(root, "data.channels=2")
    (root / "train/dog/broken.png").write_bytes((root / "train/dog/a.png").read_bytes()[:40])
    assert str(root / "train/dog/broken.png") in message(root)
    (root / "train/dog/broken.png").unlink()
    pictures(root, "val/cow")
    assert "cow" in message(root)
    (root / "val/cow").rename(root / "train/empty")
    for file in Path(root / "train/empty").iterdir():
        file.unlink()
    assert str(root / "train/empty") in message(root)


@pytest.mark.parametrize("size", ["null", "0"])
def test_image_folder_needs_a_size(size, composed, tmp_path):
    pictures(tmp_path, "train/cat", "train/dog")
    with pytest.raises(ValueError, match=r"data\.resize"):
        loading.load(composed("data=image_folder", f"data.path={tmp_path}", f"data.resize={size}")["data"])


# --- files that change while the process lives


CHANGES = {
    "a picture is added": lambda root: Image.new("RGB", (4, 4)).save(root / "train/cat/new.jpg"),
    "a picture is deleted": lambda root: (root / "train/dog/a.png").unlink(),
    "a picture gets another name": lambda root: (root / "train/dog/a.png").rename(root / "train/dog/c.png"),
    "a picture moves to another class": lambda root: (root / "train/dog/a.png").rename(root / "train/cat/c.png"),
    "a picture becomes another": lambda root: Image.new("RGB", (9, 7), (9, 9, 9)).save(root / "train/cat/a.png"),
    "a class is added": lambda root: pictures(root, "train/cow"),
    "a class is removed": lambda root: shutil.rmtree(root / "train/ant"),
    "validation images are added": lambda root: pictures(root, "val/dog"),
    "test images are removed": lambda root: shutil.rmtree(root / "test"),
}


@pytest.fixture
def animals(tmp_path, composed):
    """A folder of three classes with two training pictures each, and its data config."""
    root = pictures(tmp_path / "pictures", "train/ant", "train/cat", "train/dog", "test/cat")
    overrides = (f"data.path={root}", "data.resize=8", "data.val_size=1", "data.batch_size=2")
    return root, composed("data=image_folder", *overrides)["data"]


def seen(config):
    """All that there is to know of a folder: facts, sizes, the images as loaded and as a network gets them."""
    loaded, module = loading.load(config), DataModule(config)
    module.setup()
    parts = [loaded.train, loaded.val, loaded.test, module.train, module.val, module.test]
    return (
        loading.facts(config),
        sizes(config),
        loaded.classes,
        module.classes,
        [part and (part.inputs.tolist(), part.labels.tolist()) for part in parts],
    )


@pytest.mark.parametrize("change", CHANGES)
def test_what_changes_in_an_image_folder_is_seen(change, animals):
    root, config = animals
    before = seen(config)
    CHANGES[change](root)
    now = seen(config)
    loading.forget()
    assert now == seen(config)
    assert (now == before) == (change == "a picture gets another name")


def test_a_picture_of_the_same_size_is_seen_by_its_times(animals, tmp_path):
    root, config = animals
    file, other = root / "train/cat/a.png", tmp_path / "b.bmp"
    for path, shade in ((file.with_suffix(".bmp"), 1), (other, 2)):
        Image.new("RGB", (9, 7), (shade, 0, 0)).save(path)
    file.unlink()
    file = file.with_suffix(".bmp")
    reds = []
    for copy in (None, shutil.copyfile, shutil.move):
        if copy:
            before = file.stat()
            Image.new("RGB", (9, 7), (2 + len(reds), 0, 0)).save(other)
            os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))  # as an archive may have them
            copy(other, file)
            assert file.stat().st_size == before.st_size
        reds.append(loading.load(config).train.inputs[2:4, 0, 0, 0].tolist())
    assert reds == [[41, 1], [41, 3], [41, 4]]


def test_an_image_folder_that_did_not_change_is_read_once_and_looked_at_once_a_call(animals, monkeypatch):
    root, config = animals
    reads, looks = [], []
    read, fingerprint = sources.folder.read, sources.folder.fingerprint
    monkeypatch.setattr(sources.folder, "read", lambda path, **options: reads.append(path) or read(path, **options))
    monkeypatch.setattr(
        sources.folder, "fingerprint", lambda path, *more: looks.append(path) or fingerprint(path, *more)
    )
    sizes(config)
    assert (len(reads), len(looks)) == (8, 1)  # though it calls load
    sizes({**config, "batch_size": 5})
    modules = [DataModule(config) for _ in range(3)]
    for module in modules:
        module.setup()
    assert len(reads) == 8
    assert len(looks) == 5
    (root / "train/cat/notes.txt").write_text("no picture")
    sizes(config)
    assert len(reads) == 8


def test_images_of_an_earlier_state_are_not_kept(animals):
    root, config = animals
    module = DataModule(config)
    module.setup()
    old = weakref.ref(module.train)
    module = None
    CHANGES["a picture is added"](root)
    loading.load(config)
    gc.collect()
    assert old() is None


def test_the_same_relative_path_from_another_directory_is_another_folder(animals, monkeypatch, tmp_path):
    root, config = animals
    pictures(tmp_path / "elsewhere/pictures", "train/x", "train/y")
    config = {**config, "path": root.name}
    monkeypatch.chdir(root.parent)
    assert loading.load(config).classes == ["ant", "cat", "dog"]
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert loading.load(config).classes == ["x", "y"]


def test_a_second_fit_in_the_same_process_sees_new_pictures(animals, tmp_path):
    root, _ = animals
    request = ["data=image_folder", f"data.path={root}", "data.resize=8", "data.val_size=1", "model=softmax"]
    request += ["trainer=cpu", "trainer.max_epochs=1", f"output_dir={tmp_path}"]
    first = cnnlab.fit(request)
    pictures(root, "train/cow")
    second = cnnlab.fit(request)
    assert (first.classes, second.classes) == (["ant", "cat", "dog"], ["ant", "cat", "cow", "dog"])
    assert second.metrics["params"] > first.metrics["params"]


# --- grey images for a network of colour images


@pytest.mark.parametrize("name", ["digits", "xo"])
def test_grey_images_are_repeated_as_three_channels(composed, name):
    grey, colour = (composed(f"data={name}", *more)["data"] for more in ([], ["data.channels=3"]))
    assert loading.facts(colour)[0] == (3, *loading.facts(grey)[0][1:])
    for one, three in zip(*((s.train, s.test) for s in map(loading.load, (grey, colour))), strict=True):
        assert torch.equal(three.inputs, one.inputs.repeat(1, 3, 1, 1))
        assert torch.equal(three.labels, one.labels)
    if drawn := loading.load(colour).draw:
        assert torch.equal(drawn(3).inputs, loading.load(grey).draw(3).inputs.repeat(1, 3, 1, 1))
    earlier = {k: v for k, v in grey.items() if k != "channels"}  # of a run from before there was the key
    assert torch.equal(loading.load(earlier).train.inputs, loading.load(grey).train.inputs)


def test_other_numbers_of_channels_are_refused(composed):
    with pytest.raises(ValueError, match=r"^data.channels=1: images of data=cifar10 have 3; only grey ones can"):
        loading.facts(composed("data=cifar10", "data.channels=1")["data"])
    with pytest.raises(ValueError, match=r"^data.channels=2: images of data=xo have 1"):
        loading.facts(composed("data=xo", "data.channels=2")["data"])


@pytest.mark.slow
def test_a_run_on_repeated_channels_is_evaluated_on_its_own_data_and_predicts(tmp_path):
    small = ["data=xo", "data.train_size=64", "data.test_size=32", "data.channels=3", "model=softmax", "trainer=cpu"]
    run = cnnlab.fit([*small, "trainer.max_epochs=1", f"output_dir={tmp_path}"])
    assert run.metrics["params"] == 3 * 81 * 2 + 2
    evaluated = run.evaluate()
    assert evaluated["test/acc"] == run.metrics["test/acc"]
    Image.new("L", (9, 9), 90).save(tmp_path / "grey.png")
    assert run.predict(tmp_path / "grey.png")[0]["error"] is None
