"""A lesion replaces what it says by what it says, and nothing else."""

import json
import os
import shutil

import pytest
import torch

from cnnlab.models.network import Network
from cnnlab.trained.lesions import expand, lesion, parse, silenced, validation_means
from cnnlab.trained.load import load_test
from cnnlab.trained.run import Run


def test_zero_mean_and_pass_are_what_a_forward_pass_by_hand_gives(digits_run):
    classifier, images, _ = load_test(digits_run, digits_run.config["data"])
    network, x = classifier.network, images[:16]
    means = validation_means(digits_run, classifier)

    def by_hand(conv2) -> torch.Tensor:
        value = network.pool1(network.conv1(network.input(x)))
        value = conv2(value)
        for name in ("pool2", "fc3", "fc4", "head"):
            value = getattr(network, name)(value)
        return value

    with torch.inference_mode():
        for by, replaced in (
            ("zero", lambda v: torch.zeros_like(network.conv2(v))),
            ("mean", lambda v: means["conv2"].float().expand(len(v), 16, 10, 10)),
        ):
            with silenced(network, {"conv2": None}, by, means):
                found = network(x)
            assert torch.allclose(found, by_hand(replaced), atol=1e-5)

        def two_channels(v):
            out = network.conv2(v).clone()
            out[:, [1, 4]] = 0
            return out

        with silenced(network, {"conv2": [1, 4]}, "zero", means):
            found = network(x)
        assert torch.allclose(found, by_hand(two_channels), atol=1e-5)
        with silenced(network, {"conv2": None}, "pass", means), pytest.raises(ValueError, match="6x14x14 to 16x10x10"):
            network(x)
        assert torch.allclose(network(x), by_hand(network.conv2), atol=1e-5)  # as it was


def test_means_are_those_of_the_validation_images(digits_run):
    from cnnlab.training.datamodule import DataModule

    classifier = digits_run.classifier()
    data = DataModule(digits_run.config["data"])
    data.setup()
    with torch.inference_mode():
        out = classifier.network.conv1(classifier.network.input(data.val.images))
    means = validation_means(digits_run, classifier)
    assert torch.allclose(means["conv1"].flatten(), out.double().mean((0, 2, 3)), atol=1e-6)


def test_a_table_of_every_layer_and_of_every_channel_is_kept_and_not_computed_twice(digits_run):
    network = digits_run.network()
    rows = lesion(digits_run, expand(network, "each"))
    assert [row["lesion"] for row in rows] == ["none", "conv1", "pool1", "conv2", "pool2", "fc3", "fc4"]
    assert rows[0]["test/acc"] == pytest.approx(digits_run.metrics["test/acc"])
    assert all(row["change"] < -0.2 for row in rows[1:])
    channels = lesion(digits_run, expand(network, "each:conv1"))
    assert [row["lesion"] for row in channels[1:]] == [f"conv1:{i}" for i in range(6)]
    path = digits_run.directory / "evaluate/lesions-digits-mean.json"
    known = json.loads(path.read_text())
    assert len(known) == 13
    path.write_text(json.dumps(known | {"conv1": 0.123}))
    assert lesion(digits_run, [["conv1"]])[1]["test/acc"] == 0.123
    path.unlink()


def test_what_is_silenced_is_checked(digits_run):
    network = digits_run.network()
    assert parse(network, "conv1:0+conv1:3+fc3") == {"conv1": [0, 3], "fc3": None}
    assert expand(network, ["conv1", "fc3:2"]) == [["conv1", "fc3:2"]]
    for key, message in (
        ("conv9", 'did you mean "conv'),
        ("conv1:6", "conv1 has 6 channels, numbered from 0"),
        ("head", "unknown layer to silence"),
    ):
        with pytest.raises(ValueError, match=message):
            parse(network, key)
    with pytest.raises(ValueError, match="known are mean, zero, pass"):
        lesion(digits_run, [["conv1"]], by="nothing")


def test_the_classifier_is_spared_where_another_layer_ends_the_network(composed):
    network = Network(composed("model=airbench", "model.width=0.25")["model"], (3, 32, 32), 10)
    assert network.table[-1].name == "scale"
    names = [name for (name,) in expand(network, "each")]
    assert "scale" in names
    assert "head" not in names
    with pytest.raises(ValueError, match='unknown layer to silence "head"'):
        parse(network, "head")


@pytest.mark.parametrize("spoil", ["older than the checkpoint", "damaged", "no number"])
def test_kept_answers_that_cannot_be_trusted_are_computed_again(digits_run, tmp_path, spoil):
    copy = tmp_path / "run"
    shutil.copytree(digits_run.directory, copy)
    run = Run.load(copy)
    truth = lesion(run, [["conv2"]], "zero")
    path = copy / "evaluate/lesions-digits-zero.json"
    wrong = {"": 0.5, "conv2": 0.25}
    path.write_text({"damaged": "{", "no number": '{"": "x", "conv2": 2}'}.get(spoil, json.dumps(wrong)))
    if spoil == "older than the checkpoint":
        assert lesion(run, [["conv2"]], "zero")[0]["test/acc"] == 0.5
        later = path.stat().st_mtime + 10
        os.utime(copy / "checkpoints/best.ckpt", (later, later))
    assert lesion(run, [["conv2"]], "zero") == truth
