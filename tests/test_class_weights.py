"""Weights of the classes in the training loss."""

import pytest
import torch
import torch.nn.functional as F
from torch.func import vmap

import cnnlab
from cnnlab.models.losses import LOSSES, training_loss
from cnnlab.runs.checkpoints import read
from cnnlab.training.class_weights import class_weights
from cnnlab.training.classifier import Classifier

slow = pytest.mark.slow
QUICK = ("model=mlp", "trainer=cpu", "trainer.max_epochs=2", "data.batch_size=64", "data.val_size=0.5")


def test_the_loss_is_a_mean_over_images_in_which_each_counts_as_its_class_does():
    logits, labels, weights = torch.randn(20, 3), torch.arange(20) % 3, [0.5, 1.0, 4.0]
    each = -logits.log_softmax(1)[range(20), labels] * torch.tensor(weights)[labels]
    loss = training_loss("cross_entropy", 0.0, weights)
    torch.testing.assert_close(loss(logits, labels), each.mean())
    smooth = training_loss("cross_entropy", 0.1, weights)
    spread = -(logits.log_softmax(1) * torch.tensor(weights)).sum(1) / 3
    torch.testing.assert_close(smooth(logits, labels), (0.9 * each + 0.1 * spread).mean())
    # so that shares of a batch add up to the batch, as several processes need, and packed runs have their own
    torch.testing.assert_close((8 * loss(logits[:8], labels[:8]) + 12 * loss(logits[8:], labels[8:])) / 20, each.mean())
    runs = list(zip(logits.view(4, 5, 3), labels.view(4, 5), strict=True))
    packed = vmap(smooth)(logits.view(4, 5, 3), labels.view(4, 5))
    torch.testing.assert_close(packed, torch.stack([smooth(*run) for run in runs]))


def test_without_weights_the_loss_is_what_it_was():
    assert training_loss("cross_entropy") is F.cross_entropy
    with pytest.raises(ValueError, match=r"^class_weights is for cross_entropy, not for model.loss=map$"):
        training_loss("map", class_weights=[1, 2])


def test_balanced_is_by_inverse_frequency_with_a_mean_of_1_over_the_images():
    images = [10, 30, 60]
    weights = class_weights("balanced", images, "abc")
    assert [w * n for w, n in zip(weights, images, strict=True)] == pytest.approx([100 / 3] * 3)
    assert sum(w * n for w, n in zip(weights, images, strict=True)) == pytest.approx(100)
    with pytest.raises(ValueError, match='class "b" has no training image'):
        class_weights("balanced", [1, 0, 2], "abc")
    with pytest.raises(ValueError, match="class_weights has 2 numbers, and there are 3 classes"):
        class_weights([1, 2], images, "abc")


@slow
def test_a_run_is_trained_with_them_and_judged_without(tmp_path):
    run = cnnlab.fit([*QUICK, "class_weights=balanced", f"output_dir={tmp_path}"])
    path = run.directory / "checkpoints/best.ckpt"
    classifier = Classifier.load_from_checkpoint(path, weights_only=True, map_location="cpu")
    assert "loss.weights" not in read(path)["state_dict"]
    from cnnlab.training.fit import load_data

    data = load_data(run.config)
    counts = torch.bincount(data.train.labels, minlength=10)
    expected = counts.sum() / (10 * counts)
    torch.testing.assert_close(classifier.loss.weights, expected)
    logits = classifier.logits(data.test.inputs)
    assert run.metrics["test/loss"] == pytest.approx(float(LOSSES["cross_entropy"](logits, data.test.labels)), rel=1e-4)
    assert run.evaluate()["test/loss"] == pytest.approx(run.metrics["test/loss"], rel=1e-4)


@slow
def test_a_class_that_counts_more_is_recognised_more_often(tmp_path):
    shares = []
    for weights in ("[1,1,1,1,1,1,1,1,1,1]", "[1,1,1,1,1,1,1,1,20,1]"):
        run = cnnlab.fit([*QUICK, f"class_weights={weights}", f"output_dir={tmp_path}"])
        shares.append(run.evaluate()["per_class"]["8"])
    assert shares[1] > shares[0] + 0.05


@slow
def test_equal_weights_are_no_weights_to_rounding_and_others_change_the_training(tmp_path):
    states = []
    for weights in ("null", "[1,1,1,1,1,1,1,1,1,1]", "[1,1,1,1,1,1,1,1,20,1]"):
        run = cnnlab.fit([*QUICK, "optimizer=sgd", f"class_weights={weights}", f"output_dir={tmp_path}"])
        states.append(read(run.directory / "checkpoints/last.ckpt")["state_dict"])
    plain, equal, other = (state["network.fc1.linear.weight"] for state in states)
    torch.testing.assert_close(equal, plain, rtol=1e-3, atol=1e-4)
    assert (other - plain).abs().max() > 1e-2


@slow
def test_packed_and_resumed_runs_are_what_they_would_be_alone(composed, tmp_path):
    from cnnlab.packing.together import PackedRun, kin, train_together
    from cnnlab.trained.run import Run
    from cnnlab.training.run import resume, train

    own = ("class_weights=balanced", "class_weights=[1,2,3,4,5,6,7,8,9,10]", "class_weights=null")
    configs = [composed(*QUICK, "precision=64-true", o, "metrics=[f1]") for o in own]
    assert len({kin(config) for config in configs}) == 1
    outcomes = train_together([PackedRun(c, tmp_path / str(m), []) for m, c in enumerate(configs)])
    assert not [o for o in outcomes if isinstance(o, Exception)], outcomes
    for m, config in enumerate(configs):
        train(config, tmp_path / f"alone{m}")
        alone, packed = (read(tmp_path / n / "checkpoints/last.ckpt") for n in (f"alone{m}", str(m)))
        assert alone["hyper_parameters"] == packed["hyper_parameters"]
        for key, value in alone["state_dict"].items():
            torch.testing.assert_close(packed["state_dict"][key], value, rtol=1e-6, atol=1e-8)
        assert Run.load(tmp_path / str(m)).metrics["val/f1"] == pytest.approx(
            Run.load(tmp_path / f"alone{m}").metrics["val/f1"]
        )
    short = cnnlab.fit([*QUICK, own[0], "scheduler=constant", "trainer.max_epochs=1", f"output_dir={tmp_path}/s"])
    resume(short.directory, ["trainer.max_epochs=2"])
    whole = cnnlab.fit([*QUICK, own[0], "scheduler=constant", f"output_dir={tmp_path}/s"])
    ours, theirs = (read(r.directory / "checkpoints/last.ckpt")["state_dict"] for r in (short, whole))
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)
