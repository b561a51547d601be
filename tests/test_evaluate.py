"""What a network was trained on is what it is asked about: evaluate and predict prepare images as the run did."""

import pytest
import torch
from PIL import Image

import cnnlab
from cnnlab.data.load import forget, load
from cnnlab.trained.evaluate import evaluate
from cnnlab.trained.predict import predict
from cnnlab.trained.run import Run

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def peculiar_run(tmp_path_factory):
    """A run whose images were scaled, trimmed and permuted."""
    output = tmp_path_factory.mktemp("outputs")
    images = ["data.resize=16", "data.trim=2", "data.permute_pixels=true", "augment=none"]
    training = ["trainer=cpu", "model=mlp", "trainer.max_epochs=3", "optimizer.lr=0.01"]
    return cnnlab.fit([*images, *training, f"output_dir={output}"])


def test_evaluate_prepares_images_as_the_run_did(peculiar_run):
    assert peculiar_run.classifier().hparams["input_shape"] == (1, 12, 12)
    assert evaluate(peculiar_run)["test/acc"] == pytest.approx(peculiar_run.metrics["test/acc"])
    assert peculiar_run.metrics["test/acc"] > 0.8


def test_predict_prepares_files_as_the_run_did(peculiar_run, tmp_path):
    test = load(peculiar_run.config["data"]).test
    for i, image in enumerate(test.inputs[:100]):
        Image.fromarray(image[0].numpy()).save(tmp_path / f"{i:03d}.png")
    rows = predict(peculiar_run, sorted(tmp_path.iterdir()))
    right = [row["label"] == str(label) for row, label in zip(rows, test.labels.tolist(), strict=False)]
    assert torch.tensor(right).float().mean() > 0.8


def test_a_run_on_xo_answers_for_the_trickier_cases_under_their_own_name(command, tmp_path):
    quick = ["trainer=cpu", "model=xo_cnn", "data.train_size=64", "data.test_size=64", "trainer.max_epochs=1"]
    for data in ("xo", "xo_tricky"):
        assert command("train", *quick, f"data={data}").status == 0
    directories = {p.name.split("-xo_cnn-")[1].rpartition("-")[0]: p for p in tmp_path.glob("outputs/runs/*")}
    assert set(directories) == {"xo", "xo_tricky"}
    for data in ("xo", "xo_tricky"):
        done = command("evaluate", f"run={directories['xo']}", f"data={data}")
        assert f"evaluate/{data}.json" in done.stdout, done.stderr
    own, tricky = (Run.load(directories[data]).config["data"]["name"] for data in ("xo", "xo_tricky"))
    assert (own, tricky) == ("xo", "xo_tricky")
    assert {p.name for p in directories["xo"].glob("evaluate/*")} == {"xo.json", "xo_tricky.json"}


@pytest.mark.real_data
def test_a_runs_data_may_lie_elsewhere_than_they_did(command, tmp_path, real_data_dir):
    (tmp_path / "here").symlink_to(real_data_dir)
    few = ["trainer=cpu", "trainer.max_epochs=1", "+trainer.limit_train_batches=2", "+trainer.limit_val_batches=1"]
    done = command("train", "data=mnist", "model=softmax", *few, "+trainer.limit_test_batches=1", "data_dir=here")
    assert done.status == 0, done.stderr
    (run,) = tmp_path.glob("outputs/runs/*")
    (tmp_path / "here").rename(tmp_path / "there")
    forget()
    for name, more in (("evaluate", []), ("export", []), ("inspect", LOOKERS), ("robustness", ["distortions=[shift]"])):
        assert "here" in command(name, f"run={run}", *more).stderr
        done = command(name, f"run={run}", *more, "data_dir=there")
        assert done.status == 0, done.stderr
        forget()
    assert "nowhere" in command("evaluate", f"run={run}", "data=fashion_mnist", "data_dir=nowhere").stderr


LOOKERS = ["callbacks=none", "+callbacks.health._target_=cnnlab.inspection.health.Health"]


@pytest.mark.parametrize("choice", ["val_size=7", "split_seed=1"])
def test_validation_images_are_not_chosen_where_the_data_have_their_own(command, choice):
    done = command("train", "data=xo", "model=xo_cnn", f"data.{choice}")
    assert f"data.{choice}: data=xo has validation images of its own" in done.stderr
