"""Given weights: torchvision's, from a file or published, and a run's, in networks that are not trained here."""

import csv
import json
import os
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torchvision import models
from torchvision.transforms._presets import ImageClassification
from zoo import filled

import cnnlab
from cnnlab.data.forms import Facts
from cnnlab.data.images import read_input
from cnnlab.models.network import Network
from cnnlab.models.published import class_names, images_for, published, recognise
from cnnlab.runs.checkpoints import read_state_dict
from cnnlab.trained.run import Run
from cnnlab.training.weights import load_shared_layers, read_weights

pytestmark = pytest.mark.slow

PREPARE = ImageClassification(crop_size=224)
THEIRS = {
    "alexnet_torchvision": "alexnet",
    "googlenet": "googlenet",
    "resnet18": "resnet18",
    "resnet50": "resnet50",
    "squeezenet": "squeezenet1_1",
    "vgg11": "vgg11",
    "vgg11 model.norm=batch": "vgg11_bn",
}


def draw(path: Path, width: int, height: int, seed: int = 0) -> Path:
    """A picture with something in it at every scale."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (height // 9, width // 9, 3), dtype=np.uint8))
    fine = rng.integers(0, 40, (height, width, 3), dtype=np.uint8)
    Image.fromarray(np.array(coarse.resize((width, height))) // 2 + fine).save(path)
    return path


def answers(network: nn.Module, files: list[Path], prepare=PREPARE) -> torch.Tensor:
    with torch.inference_mode():
        return network(torch.stack([prepare(Image.open(file).convert("RGB")) for file in files]))


def closeness(given: torch.Tensor, expected: torch.Tensor) -> float:
    return float((given - expected).abs().max() / expected.abs().max())


@pytest.fixture(scope="module")
def squeezenet() -> nn.Module:
    return filled("squeezenet1_1")


@pytest.fixture(scope="module")
def weights(tmp_path_factory, squeezenet) -> Path:
    """A file with a state dict of torchvision's squeezenet."""
    path = tmp_path_factory.mktemp("weights") / "squeezenet.pth"
    torch.save(squeezenet.state_dict(), path)
    return path


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> list[Path]:
    folder = tmp_path_factory.mktemp("pictures")
    sizes = [(300, 260), (224, 224), (257, 511), (90, 60)]
    return [draw(folder / f"{i}.png", *size, seed=i) for i, size in enumerate(sizes)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Pictures in folders named as classes of ImageNet, in another order than its."""
    root = tmp_path_factory.mktemp("folder")
    for seed, name in enumerate(("goldfish", "hen", "tench")):
        for split, count in (("train", 4), ("test", 2)):
            for i in range(count):
                draw(root / split / name / f"{i}.png", 120 + 10 * i, 140, seed=10 * seed + i)
    return root


@pytest.fixture(scope="module")
def given(tmp_path_factory, weights) -> Run:
    output = tmp_path_factory.mktemp("outputs")
    return Run.given(["model=squeezenet", f"init_from={weights}", f"output_dir={output}"])


@pytest.mark.parametrize(("model", "arch"), THEIRS.items())
def test_with_a_file_of_torchvisions_weights_logits_are_torchvisions(composed, tmp_path, model, arch):
    theirs = filled(arch)
    with torch.no_grad():  # a file of half the size, and of half precision
        for parameter in theirs.parameters():
            parameter.copy_(parameter.half())
    file = tmp_path / "weights.pth"
    torch.save(
        {k: v.half() if k in dict(theirs.named_parameters()) else v for k, v in theirs.state_dict().items()}, file
    )
    name, *overrides = model.split()
    config = composed(f"model={name}", *overrides)["model"]
    ours = Network(config, (3, 224, 224), 1000, mean=PREPARE.mean, std=PREPARE.std)
    assert load_shared_layers(ours, read_weights(file, config)) == []
    file.unlink()
    picture = torch.rand(2, 3, 224, 224)
    normalised = (picture - torch.tensor(PREPARE.mean).view(3, 1, 1)) / torch.tensor(PREPARE.std).view(3, 1, 1)
    with torch.inference_mode():
        expected = theirs(normalised)
        assert closeness(ours.eval()(picture), expected) < 1e-5
    assert expected.std() > 0


def test_picture_files_get_torchvisions_probabilities(given, squeezenet, pictures):
    rows = given.predict(pictures)
    expected = answers(squeezenet, pictures).softmax(1)
    names = class_names(1000)
    for row, probabilities in zip(rows, expected, strict=True):
        best = probabilities.topk(5)
        ranks = ["", "2", "3", "4", "5"]
        assert [row[f"label{rank}"] for rank in ranks] == [names[i] for i in best.indices]
        assert torch.tensor([row[f"probability{rank}"] for rank in ranks]) == pytest.approx(best.values, abs=1e-6)


def test_files_are_prepared_to_the_same_bytes_as_by_torchvision(given, pictures):
    for file in pictures:
        ours = read_input(file, Facts((3, 224, 224), 1000), given.config["data"])
        theirs = PREPARE(Image.open(file).convert("RGB"))
        std, mean = torch.tensor(PREPARE.std).view(3, 1, 1), torch.tensor(PREPARE.mean).view(3, 1, 1)
        assert torch.equal(ours[0], ((theirs * std + mean) * 255).round().to(torch.uint8))


def test_the_published_weights_of_googlenet_get_the_images_that_they_expect(monkeypatch, tmp_path, pictures):
    theirs = filled("googlenet", aux_logits=True, transform_input=True)
    monkeypatch.setattr(models.WeightsEnum, "get_state_dict", lambda self, **options: theirs.state_dict())
    run = Run.given(["model=googlenet", "init_from=torchvision", f"output_dir={tmp_path}"])
    expected = answers(theirs, pictures[:2]).softmax(1).max(1).values
    assert torch.tensor([row["probability"] for row in run.predict(pictures[:2])]) == pytest.approx(expected, abs=1e-5)


def test_published_weights_are_chosen_by_name_and_known_by_their_digest():
    resnet = {"name": "resnet50"}
    assert published(resnet).name == "IMAGENET1K_V2"
    assert published(resnet, "IMAGENET1K_V1").url.endswith("resnet50-0676ba61.pth")
    assert recognise(resnet, "11ad3fa6" + "0" * 56) == published(resnet)
    assert recognise(resnet, "0" * 64) is None
    assert (images_for(published(resnet)).resize, images_for(None).resize) == (232, 256)
    assert published({"name": "vgg16", "norm": "batch"}).url.endswith("vgg16_bn-6c64b313.pth")
    with pytest.raises(ValueError, match='no weights IMAGENET1K_V3 for model=resnet50; did you mean "IMAGENET1K_V2"'):
        published(resnet, "IMAGENET1K_V3")
    with pytest.raises(ValueError, match="bicubic"):
        images_for(models.EfficientNet_B0_Weights.DEFAULT)


def test_class_names_are_different():
    assert len(set(class_names(1000))) == 1000
    assert class_names(3) == ["0", "1", "2"]


def test_without_network_one_line_names_the_file_and_the_remedy(command, monkeypatch, tmp_path):
    monkeypatch.setattr("urllib.request._opener", None)  # which keeps the proxies that it once found
    for proxy in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(proxy, "http://127.0.0.1:9")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path.parent / f"{tmp_path.name}-hub"))
    for name, more in (("predict", ["images=x"]), ("export", []), ("train", ["data.resize=64", "trainer=cpu"])):
        done = command(name, "model=resnet18", "init_from=torchvision", *more)
        assert done.status == 1
        assert done.stderr.count("\n") == 1, done.stderr
        assert "resnet18-f37072fd.pth could not be downloaded" in done.stderr
        assert "init_from=FILE" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_so_do_closed_networks(tmp_path, pictures):
    theirs = filled("shufflenet_v2_x0_5")
    torch.save(theirs.state_dict(), tmp_path / "weights.pth")
    closed = ["model=torchvision", "model.arch=shufflenet_v2_x0_5"]
    run = Run.given([*closed, f"init_from={tmp_path / 'weights.pth'}", f"output_dir={tmp_path}"])
    expected = answers(theirs, pictures).softmax(1).max(1).values
    assert torch.tensor([row["probability"] for row in run.predict(pictures)]) == pytest.approx(expected, abs=1e-5)


# --- what is changed of the network


def test_what_is_removed_leaves_the_others_their_weights(weights, given, tmp_path, capsys):
    wider = ["model.layers.fire9_squeeze.kernel_size=3", "+model.layers.fire9_squeeze.padding=1"]
    asked = ["model=squeezenet", f"init_from={weights}", f"output_dir={tmp_path}"]
    run = Run.given([*asked, 'model.remove=["fire3_*"]', *wider])
    assert f"init_from: {weights}; started afresh: fire9_squeeze\n" in capsys.readouterr().out
    network, whole = run.network(), given.network().state_dict()
    kept = {k: v for k, v in network.state_dict().items() if not k.startswith(("input.", "fire9_squeeze."))}
    assert "conv10.conv_classifier.weight" in kept
    assert not any(k.startswith("fire3") for k in kept)
    assert all(torch.equal(v, whole[k]) for k, v in kept.items())


def test_an_inserted_layer_starts_afresh(composed, weights):
    mix = "+model.layers.mix={kind: conv, channels: 64, kernel_size: 1, after: conv1}"
    config = composed("model=squeezenet", mix)
    network = Network(config["model"], (3, 64, 64), 1000)
    assert load_shared_layers(network, read_weights(weights, config["model"])) == ["mix"]


def test_a_training_takes_all_but_a_head_of_other_classes(weights, squeezenet, folder, tmp_path, capsys):
    data = ["data=image_folder", f"data.path={folder}", "data.resize=64", "data.val_size=0.25", "data.batch_size=4"]
    still = ["optimizer=sgd", "optimizer.lr=0", "optimizer.weight_decay=0", "trainer=cpu", "trainer.max_epochs=1"]
    run = cnnlab.fit(["model=squeezenet", f"init_from={weights}", *data, *still, f"output_dir={tmp_path}"])
    assert f"init_from: {weights}; started afresh: conv10\n" in capsys.readouterr().out
    assert torch.equal(run.network().conv1.conv.weight, squeezenet.features[0].weight)


def test_a_runs_network_without_a_layer_keeps_what_fits(command, digits_run, tmp_path):
    own = digits_run.directory
    done = command("evaluate", "model=lenet5", f"init_from={own}")
    assert done.status == 0, done.stderr
    assert f"test/acc       {digits_run.metrics['test/acc']:.4f}" in done.stdout
    done = command("evaluate", "model=lenet5", "model.remove=[pool1]", f"init_from={own}")
    assert f"init_from: {own}; started afresh: fc3\n" in done.stdout
    runs = [Run.load(p) for p in tmp_path.glob("outputs/given/*")]
    assert sorted(run.info["removed"] for run in runs) == [[], ["pool1"]]
    for run in runs:
        assert run.classes == digits_run.classes
        ours, theirs = ({**r.config["data"], "dir": None} for r in (run, digits_run))  # dir: of the environment
        assert ours == theirs
    assert not (own / "evaluate/pool1").exists()


# --- the run directory


def test_the_same_request_finds_the_same_directory(given, weights, tmp_path):
    asked = ["model=squeezenet", f"output_dir={given.directory.parents[1]}"]
    before = (given.directory / "checkpoints/best.ckpt").stat().st_mtime_ns
    elsewhere = shutil.copy(weights, tmp_path / "elsewhere.pth")
    assert Run.given([*asked, f"init_from={elsewhere}"]).directory == given.directory
    assert (given.directory / "checkpoints/best.ckpt").stat().st_mtime_ns == before
    content = read_state_dict(elsewhere)
    torch.save({k: v * 2 for k, v in content.items()}, elsewhere)
    assert Run.given([*asked, f"init_from={elsewhere}"]).directory != given.directory
    assert not list(given.directory.parent.glob(".*"))


def test_it_is_a_run_directory_like_any_other(command, given, pictures):
    assert (given.status, given.metrics["epochs"]) == ("completed", 0)
    assert given.metrics["params"] == 1_235_496
    done = command("predict", f"run={given.directory}", f"images={pictures[0].parent}")
    assert done.status == 0, done.stderr
    refused = command("train", f"resume={given.directory}")
    assert f"{given.directory} was not trained; init_from={given.directory} starts a training" in refused.stderr


def test_export_without_data_is_checked_on_noise(command, weights, tmp_path):
    less = 'model.remove=["fire[4-9]_*"]'  # to be quick
    done = command("export", "model=squeezenet", less, f"init_from={weights}", "output=there")
    assert done.status == 0, done.stderr
    assert {p.name for p in (tmp_path / "there").iterdir()} == {"squeezenet.onnx", "squeezenet.pt2"}


# --- with data


def test_evaluate_tests_pictures_in_folders_as_torchvision_would(command, weights, squeezenet, folder, tmp_path):
    asked = ["model=squeezenet", f"init_from={weights}", "data=image_folder", f"data.path={folder}"]
    done = command("evaluate", *asked)
    assert done.status == 0, done.stderr
    (written,) = tmp_path.glob("outputs/given/*/evaluate/image_folder.json")
    files = sorted(folder.glob("test/*/*.png"))
    labels = torch.tensor([class_names(1000).index(file.parent.name) for file in files])
    expected = nn.functional.cross_entropy(answers(squeezenet, files).double(), labels)
    assert json.loads(written.read_text())["test/loss"] == pytest.approx(float(expected), rel=1e-5)
    # the directory without data, asked for the same pictures
    assert command("predict", *asked[:2], f"images={files[0]}").status == 0
    assert command("evaluate", f"run={_without_data(tmp_path)}", *asked[2:]).status == 0
    (again,) = _without_data(tmp_path).glob("evaluate/image_folder.json")
    assert json.loads(again.read_text()) == json.loads(written.read_text())


def _without_data(root: Path) -> Path:
    (directory,) = (p for p in root.glob("outputs/given/*") if Run.load(p).config["data"]["path"] is None)
    return directory


def test_inspect_counts_labels_as_the_network_numbers_its_classes(command, weights, folder, tmp_path):
    asked = ["model=squeezenet", f"init_from={weights}", "data=image_folder", f"data.path={folder}"]
    looker = ["callbacks=none", "+callbacks.spy._target_=test_given.Spy", "trusted_modules=[test_given]"]
    done = command("inspect", *asked, "data.val_size=0.25", *looker)
    assert done.status == 0, done.stderr
    assert Spy.seen == {"goldfish", "hen", "tench"}
    assert list(tmp_path.glob("outputs/given/*/inspect/index.html"))


class Spy:
    """A looker that notes of which classes the images are."""

    seen: set[str] = set()

    def look(self, classifier, data):
        from cnnlab.inspection.look import Findings

        Spy.seen = {classifier.classes[label] for label in data.val.labels}
        assert data.val.inputs.shape[1:] == (3, 224, 224)
        return Findings()


def test_the_datas_classes_name_those_of_weights_for_as_many(folder, tmp_path):
    file = tmp_path / "three.pth"
    torch.save({"state_dict": filled("squeezenet1_1", num_classes=3).state_dict()}, file)
    asked = ["model=squeezenet", f"init_from={file}", f"output_dir={tmp_path}"]
    assert Run.given(asked).classes == ["0", "1", "2"]
    run = Run.given([*asked, "data=image_folder", f"data.path={folder}"])
    assert run.classes == ["goldfish", "hen", "tench"]
    assert (run.config["data"]["resize"], run.config["data"]["crop"]) == (256, 224)
    assert run.evaluate()["images"] == 6
    # a crop of the user's own says how images are prepared
    small = Run.given([*asked, "data=image_folder", f"data.path={folder}", "data.resize=72", "data.crop=64"])
    assert small.classifier().hparams["input_shape"] == (3, 64, 64)


def test_data_of_other_channels_or_classes_are_refused(command, weights, tmp_path):
    asked = ["model=squeezenet", f"init_from={weights}"]
    assert "1 channel, and these weights expect 3; data.channels=3 repeats it" in command(
        "evaluate", *asked, "data=digits").stderr  # fmt: skip
    draw(tmp_path / "own/train/henn/0.png", 90, 90)
    draw(tmp_path / "own/train/tench/0.png", 90, 90)
    draw(tmp_path / "own/test/henn/0.png", 90, 90)
    assert "has classes this run was not trained on: henn; it knows hen" in command(
        "evaluate", *asked, "data=image_folder", "data.path=own").stderr  # fmt: skip
    assert "nowhere" in command("predict", *asked, "data=cifar10", "data_dir=nowhere", "images=own").stderr


# --- files that are damaged, meant to harm, or another network's


class Payload:
    """Makes a folder when it is unpickled."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self):
        return os.mkdir, (str(self.canary),)


def bomb(path: Path) -> None:
    """Zeros, compressed."""
    torch.save({"x": torch.zeros(10**7)}, path)
    with zipfile.ZipFile(path) as archive:
        content = {entry: archive.read(entry) for entry in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for entry, value in content.items():
            archive.writestr(entry, value)


def changed(path: Path, change) -> None:
    content = torch.load(path, weights_only=True)
    change(content)
    torch.save(content, path)


def first_nan(content: dict) -> None:
    content["features.0.weight"][0] = torch.nan


HARM = {
    "empty": (lambda path: path.write_bytes(b""), "is no file with a state dict of torch, or a damaged one"),
    "text": (lambda path: path.write_bytes(b"hello world\n" * 100), "damaged"),
    "cut": (lambda path: path.write_bytes(path.read_bytes()[:100_000]), "damaged"),
    "flipped": (lambda path: path.write_bytes(path.read_bytes().replace(b"\x00\x01", b"\x01\x01")), "damaged"),
    "code": (lambda path: torch.save({"x": Payload(path.with_name("canary"))}, path), "more than tensors"),
    "module": (lambda path: torch.save(nn.Linear(2, 2), path), "more than tensors"),
    "bomb": (bomb, "unpacked it would be larger than the file"),
    "huge": (lambda path: torch.save({"x": torch.zeros(1).expand(10**12)}, path), "larger than the file"),
    "list": (lambda path: torch.save([torch.zeros(1)], path), "it holds no state dict"),
    "numbers": (lambda path: torch.save({"x": 1}, path), "its entry 'x' is no tensor"),
    "foreign": (lambda path: torch.save(models.resnet18().state_dict(), path),
                "not the weights of squeezenet: conv1.weight is 64x3x7x7, and here conv1.conv.weight 64x3x3x3"),
    "longer": (lambda path: changed(path, lambda content: content.update(more=torch.zeros(1))),
               "it has 53 tensors, and here are 52; the first too many is more"),
    "shorter": (lambda path: changed(path, lambda content: content.pop("classifier.1.bias")),
                "it has 51 tensors, and here are 52; the first too many is conv10.conv_classifier.bias"),
    "nan": (lambda path: changed(path, first_nan), "a value of conv1.conv.weight is not finite"),
}  # fmt: skip


@pytest.mark.parametrize("harm", HARM)
def test_a_damaged_hostile_or_foreign_file_gets_one_line(command, weights, tmp_path, harm):
    do, message = HARM[harm]
    file = Path(shutil.copy(weights, tmp_path.parent / f"{tmp_path.name}.pth"))
    do(file)
    before = file.read_bytes()
    for name, more in (("train", ["data.resize=64", "trainer=cpu"]), ("predict", ["images=x"])):
        done = command(name, "model=squeezenet", f"init_from={file}", *more)
        assert done.status == 1
        assert message in done.stderr
        assert done.stderr.count("\n") == 1, done.stderr
    assert file.read_bytes() == before
    assert not file.with_name("canary").exists()
    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_of_a_run_is_no_such_file(command, digits_run):
    done = command("train", f"init_from={digits_run.directory}/checkpoints/best.ckpt")
    assert "init_from=RUN_DIR names the run directory that it lies in" in done.stderr


# --- predict


def test_predict_writes_five_guesses_or_as_many_as_there_are_classes(command, digits_run, tmp_path, pictures):
    done = command("predict", f"run={digits_run.directory}", f"images={pictures[0]}", "output=out.csv")
    assert done.status == 0, done.stderr
    with (tmp_path / "out.csv").open() as file:
        (row,) = csv.DictReader(file)
    assert list(row)[:6] == ["file", "label", "probability", "error", "label2", "probability2"]
    chances = [float(row[f"probability{rank}"]) for rank in ("", 2, 3, 4, 5)]
    assert chances == sorted(chances, reverse=True)
    assert len({row[f"label{rank}"] for rank in ("", 2, 3, 4, 5)}) == 5
    header, line = done.stdout.splitlines()[:2]
    assert header.split() == ["file", "label", "probability", "error", "next", "guesses"]
    assert line.count(",") == 3
    memory = digits_run.predict(torch.zeros(2, 1, 28, 28))
    assert memory.columns[:4] == ["label", "probability", "label2", "probability2"]
    two = cnnlab.fit(["data=xo", "model=xo_cnn", "data.train_size=64", "data.test_size=32", "trainer=cpu",
                      "trainer.max_epochs=1", f"output_dir={tmp_path}"])  # fmt: skip
    assert two.predict(torch.zeros(1, 1, 9, 9)).columns == ["label", "probability", "label2", "probability2"]
