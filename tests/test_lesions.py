"""A lesion replaces what it says by what it says, and nothing else."""

import json
import os
import shutil

import pytest
import torch

import cnnlab
from cnnlab.reporting.plots import deleted_blocks
from cnnlab.reporting.study import read_study
from cnnlab.trained.lesions import draws, expand, lesion, run_lesions
from cnnlab.trained.load import load_test
from cnnlab.trained.run import Run
from cnnlab.trained.silence import parse, silenced, validation_means, without
from cnnlab.training.classifier import Classifier


@pytest.fixture(scope="module")
def residual_run(tmp_path_factory):
    """A narrow ResNet of six blocks after two epochs on digits."""
    output = tmp_path_factory.mktemp("outputs")
    fit = [
        "model=resnet20",
        "model.remove=['s*b3_*']",
        "model.width=0.25",
        "trainer=cpu",
        "trainer.max_epochs=2",
        "data.batch_size=32",
    ]
    return cnnlab.fit([*fit, "optimizer.lr=0.01", f"output_dir={output}"])


def classifier_of(composed, *overrides, shape=(1, 28, 28)):
    """An untrained classifier of ten classes."""
    names = [str(label) for label in range(10)]
    return Classifier(composed(*overrides)["model"], shape, names, [0.4] * shape[0], [0.3] * shape[0]).eval()


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
            with silenced(classifier, {"conv2": None}, by, means) as altered:
                found = altered(x)
            assert torch.allclose(found, by_hand(replaced), atol=1e-5)

        def two_channels(v):
            out = network.conv2(v).clone()
            out[:, [1, 4]] = 0
            return out

        with silenced(classifier, {"conv2": [1, 4]}, "zero", means):
            found = network(x)
        assert torch.allclose(found, by_hand(two_channels), atol=1e-5)
        with (
            silenced(classifier, {"conv2": [0]}, "pass", means),
            pytest.raises(ValueError, match="6x14x14 to 16x10x10"),
        ):
            network(x)
        with pytest.raises(ValueError, match="without conv2, fc3 reads 6x7x7, for which it has no trained weights"):
            without(classifier, ["conv2"])
        assert torch.allclose(network(x), by_hand(network.conv2), atol=1e-5)  # as it was


def test_means_are_those_of_the_validation_images(digits_run):
    from cnnlab.training.datamodule import DataModule

    classifier = digits_run.classifier()
    data = DataModule(digits_run.config["data"])
    data.setup()
    with torch.inference_mode():
        out = classifier.network.conv1(classifier.network.input(data.val.inputs))
    means = validation_means(digits_run, classifier)
    assert torch.allclose(means["conv1"].flatten(), out.double().mean((0, 2, 3)), atol=1e-6)


def test_a_table_of_every_layer_and_of_every_channel_is_kept_and_not_computed_twice(digits_run):
    classifier = digits_run.classifier()
    rows = lesion(digits_run, expand(classifier, "each"))
    assert [row["lesion"] for row in rows] == ["none", "conv1", "pool1", "conv2", "pool2", "fc3", "fc4"]
    assert rows[0]["test/acc"] == pytest.approx(digits_run.metrics["test/acc"])
    assert all(row["change"] < -0.2 for row in rows[1:])
    channels = lesion(digits_run, expand(classifier, "each:conv1"))
    assert [row["lesion"] for row in channels[1:]] == [f"conv1:{i}" for i in range(6)]
    path = digits_run.directory / "evaluate/lesions-digits-mean.json"
    known = json.loads(path.read_text())
    assert len(known) == 13
    path.write_text(json.dumps(known | {"conv1": 0.123}))
    assert lesion(digits_run, [["conv1"]])[1]["test/acc"] == 0.123
    path.unlink()


def test_what_is_silenced_is_checked(digits_run):
    network = digits_run.network()
    assert parse(network, ["fc3", "conv1:3", "conv1:0"]) == {"conv1": [0, 3], "fc3": None}
    assert list(parse(network, ["pool*", "conv1"])) == ["conv1", "pool1", "pool2"]
    assert expand(digits_run.classifier(), ["conv1", "fc3:2"]) == [["conv1", "fc3:2"]]
    for key, message in (
        ("conv9", 'did you mean "conv'),
        ("conv1:6", "conv1 has 6 channels, numbered from 0"),
        ("conv*:1", "numbered from 0"),
        ("head", "unknown layer to silence"),
        ("s1b2_*", "unknown layer to silence"),
    ):
        with pytest.raises(ValueError, match=message):
            parse(network, [key])
    with pytest.raises(ValueError, match=r"lenet5 has no blocks, .*; take lesion=each"):
        run_lesions(digits_run, "each_block")
    with pytest.raises(ValueError, match="known are mean, zero, pass"):
        lesion(digits_run, [["conv1"]], by="nothing")


def test_the_classifier_is_spared_where_another_layer_ends_the_network(composed):
    classifier = classifier_of(composed, "model=airbench", "model.width=0.25", shape=(3, 32, 32))
    assert classifier.network.table[-1].name == "scale"
    names = [name for (name,) in expand(classifier, "each")]
    assert "scale" in names
    assert "head" not in names
    with pytest.raises(ValueError, match='unknown layer to silence "head"'):
        parse(classifier.network, ["head"])


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


@pytest.mark.slow
def test_a_block_that_is_passed_by_leaves_its_shortcut_and_the_trained_weights(residual_run):
    classifier, images, labels = load_test(residual_run, residual_run.config["data"])
    network, x = classifier.network, images[:16]
    blocks = ["s1b1", "s1b2", "s2b1", "s2b2", "s3b1", "s3b2"]

    def by_hand(images, deleted=()) -> torch.Tensor:
        value = network.stem(network.input(images))
        for block in blocks:
            shortcut = getattr(network, f"{block}_proj", lambda value: value)(value)
            if block in deleted:
                value = shortcut
            else:
                body = getattr(network, f"{block}_conv2")(getattr(network, f"{block}_conv1")(value))
                value = getattr(network, f"{block}_add")(body, shortcut)
        return network.head(network.pool(value))

    with torch.inference_mode():
        assert torch.allclose(network(x), by_hand(x), atol=1e-5)
        for asked, deleted in (
            (["s1b2_*"], ["s1b2"]),
            (["s1b2_*", "s3b2_*"], ["s1b2", "s3b2"]),
            (["s2b1_conv*"], ["s2b1"]),
        ):
            with silenced(classifier, parse(network, asked), "pass", {}) as altered:
                assert torch.allclose(altered(x), by_hand(x, deleted), atol=1e-5)
                assert torch.equal(classifier.logits(x), altered(x))
            right = by_hand(images, deleted).argmax(1) == labels
            row = lesion(residual_run, [asked], "pass")[1]
            assert (row["lesion"], row["test/acc"]) == ("+".join(asked), pytest.approx(float(right.float().mean())))
        assert classifier.network is network
    with pytest.raises(
        ValueError, match=r"what s2b1_conv1, .* leave does not fit, s2b2_add: add of .*; keep a shortcut"
    ) as caught:
        lesion(residual_run, [["s2b1_*"]], "pass")
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_a_silenced_branch_keeps_its_shortcut_and_a_silenced_sum_does_not(residual_run):
    classifier, images, _ = load_test(residual_run, residual_run.config["data"])
    network, means = classifier.network, validation_means(residual_run, classifier)
    with torch.inference_mode():
        values = {name: value for name, _, value in network.walk(images[:16])}
        block, first, second = values["stem"], *(means[f"s1b{n}_conv2"].float() for n in (1, 2))
        for asked, expected in (
            (["s1b2_*"], (values["s1b1_add"] + second).relu()),
            (["s1b1_*", "s1b2_*"], ((block + first).relu() + second).relu()),
            (["s1b2_add"], means["s1b2_add"].float().expand_as(block)),
        ):
            found = {}
            with silenced(classifier, parse(network, asked), "mean", means) as altered:
                altered.s2b1_proj.register_forward_pre_hook(lambda module, inputs: found.update(value=inputs[0]))  # noqa: B023
                altered(images[:16])
            altered.s2b1_proj._forward_pre_hooks.clear()
            assert torch.allclose(found["value"], expected, atol=1e-5), asked


@pytest.mark.slow
def test_every_block_has_a_row_and_sets_of_blocks_are_drawn(residual_run):
    passed, silent = (run_lesions(residual_run, "each_block", by) for by in ("pass", "mean"))
    assert [row["lesion"] for row in silent] == ["none", *(f"s{s}b{b}_*" for s in (1, 2, 3) for b in (1, 2))]
    projected = {"s2b1_*": "s2b1_conv1+s2b1_conv2", "s3b1_*": "s3b1_conv1+s3b1_conv2"}
    assert [row["lesion"] for row in passed] == [projected.get(row["lesion"], row["lesion"]) for row in silent]
    table = run_lesions(residual_run, "blocks:2", "pass")
    assert [(row["blocks"], row["draws"]) for row in table] == [(0, 1), (1, 6), (2, 10)]
    assert table[1]["test/acc"] == pytest.approx(sum(row["test/acc"] for row in passed[1:]) / 6)
    assert table == run_lesions(residual_run, "blocks:2", "pass")
    assert "<svg" in (residual_run.directory / "evaluate/blocks-digits-pass.svg").read_text()
    assert deleted_blocks({"one": table, "other": table}).count("</svg>") == 1
    for wrong in ("blocks:7", "blocks:0", "blocks:two"):
        with pytest.raises(ValueError, match="take a number from 1 to 6, the blocks that can be silenced"):
            run_lesions(residual_run, wrong, "pass")
    names = [str(n) for n in range(8)]
    assert len(set(draws(names, 4))) == 10
    assert len(draws(names, 7)) == 8


@pytest.mark.slow
def test_blocks_of_a_chain_that_change_its_shape_have_no_accuracy_by_pass(composed, tmp_path):
    fit = ["model=plain20", "model.width=0.125", "trainer=cpu", "trainer.max_epochs=1", "data.val_size=0.75"]
    run = cnnlab.fit([*fit, f"output_dir={tmp_path}"])
    table = run_lesions(run, "each_block", "pass")
    assert [row["lesion"] for row in table if row["test/acc"] is None] == ["s2b1_*", "s3b1_*"]
    assert run_lesions(run, "blocks:1", "pass")[1]["draws"] == 7


def test_in_a_chain_a_layer_of_one_shape_is_passed_by_as_a_hook_would(composed):
    classifier = classifier_of(composed, "model=plain20", "model.width=0.25")
    images = torch.rand(4, 1, 28, 28)
    network, every = classifier.network, range(4)
    for name in ("s1b2_conv1", "s1b3_conv2"):
        with torch.inference_mode():
            with silenced(classifier, {name: None}, "pass", {}) as altered:
                removed = altered(images)
                assert name not in dict(altered.named_children())
            with silenced(classifier, {name: list(every)}, "pass", {}):
                assert torch.equal(removed, network(images))
            assert not torch.equal(removed, network(images))


def test_branches_can_be_silenced_and_a_network_trained_without_layers_too(composed):
    inception = classifier_of(composed, "model=inception_cifar", "model.width=0.125", shape=(3, 32, 32))
    block = next(row.name for row in inception.network.table if row.kind == "concat").rpartition("_")[0]
    images = torch.rand(2, 3, 32, 32)
    with torch.inference_mode():
        whole = inception.network(images)
        with silenced(inception, parse(inception.network, [f"{block}_conv3"]), "zero", {}) as altered:
            assert not torch.equal(whole, altered(images))
        assert torch.equal(whole, inception.network(images))
    with pytest.raises(ValueError, match="for which it has no trained weights"):
        without(inception, [f"{block}_conv1"])
    removed = ["model.width=0.25", "model.remove=[s2b1_*]", "model.repair=true"]
    repaired = classifier_of(composed, "model=resnet20", *removed)
    less = without(repaired, ["s1b1_conv1", "s1b1_conv2"])
    assert {"s1b1_add", "s2b1_add"}.isdisjoint(row.name for row in less.table)
    assert less.s3b3_conv1.conv.weight is not None
    assert torch.equal(less.s3b3_conv1.conv.weight, repaired.network.s3b3_conv1.conv.weight)


@pytest.mark.slow
def test_a_study_of_blocks_has_the_lesions_of_its_baseline_beside_them(command, tmp_path):
    fixed = ["model=resnet20", "model.width=0.125", "trainer=cpu", "trainer.max_epochs=1", "data.val_size=0.75"]
    remove = "model.remove=['s1b1_*','s1b2_*'],['s1b*'],['s1b1_*','s1b2_*','s3b2_*']"
    done = command("train", "-m", *fixed, remove, "study.name=blocks")
    assert done.status == 0, done.stderr
    study = read_study(tmp_path / "outputs/studies/blocks")
    baseline, least, two = study.comparisons
    run = Run.load(tmp_path / "outputs/studies/blocks" / study.rows[0]["run_dir"])
    for comparison, silent in ((least, ["s1b3_*"]), (two, ["s3b2_*"])):
        assert comparison.lesion == lesion(run, [silent])[1]["change"]
    assert baseline.lesion is None
