"""Every run keeps what it answered to each validation and test image."""

import shutil

import numpy as np
import pytest
from children import forked

import cnnlab
from cnnlab.data.splits import prepared
from cnnlab.runs.answers import NAME, read_answers, read_classes
from cnnlab.trained.run import Run

pytestmark = pytest.mark.slow

QUICK = ("trainer.max_epochs=1", "data.eval_batch_size=37")


def test_they_agree_with_metrics_images_and_predictions(digits_run):
    answers = read_answers(digits_run.directory)
    images = prepared(digits_run.config["data"])
    assert list(answers) == ["val", "test"]
    for stage, own in answers.items():
        assert own.hits.mean() == pytest.approx(digits_run.metrics[f"{stage}/acc"])
        assert np.array_equal(own.label, getattr(images, stage).labels.numpy())
    assert read_classes(digits_run.directory) == digits_run.classes
    predicted = digits_run.predict(images.test.inputs[:40])
    guesses = answers["test"].guess[:40]
    assert [row["label"] for row in predicted] == [digits_run.classes[guess] for guess in guesses]
    probabilities = answers["test"].probability[:40]
    np.testing.assert_allclose([row["probability"] for row in predicted], probabilities, atol=1e-3)


def test_those_of_two_processes_lie_in_the_order_of_the_data(tmp_path):
    run = cnnlab.fit([*QUICK, "trainer=ddp_cpu", f"output_dir={tmp_path}"])
    own = read_answers(run.directory)["test"]
    assert np.array_equal(own.label, prepared(run.config["data"]).test.labels.numpy())
    assert own.hits.mean() == pytest.approx(run.metrics["test/acc"])


@pytest.fixture(scope="module")
def three(tmp_path_factory):
    """A study of three runs."""
    folder = tmp_path_factory.mktemp("study")
    sweep = ["-m", "model=softmax", "seed=0,1,2", "trainer=cpu", *QUICK, "study.name=three"]
    assert forked("train", *sweep, cwd=folder).returncode == 0
    return folder / "outputs/studies/three"


@pytest.mark.parametrize(
    "spoil", [lambda b: b[: len(b) // 2], lambda b: b[: (n := len(b) // 2)] + b"\xff" * 9 + b[n + 9 :], lambda b: b""]
)
def test_a_damaged_file_is_refused_and_stops_no_report(command, three, tmp_path, spoil):
    study = shutil.copytree(three, tmp_path / "three")
    assert "over 3 runs" in (study / "report.md").read_text()
    path = next(study.glob(f"*-s1-*/{NAME}"))
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(ValueError, match=r"answers\.npz is damaged"):
        read_answers(path.parent)
    assert command("report", f"study={study}").status == 0
    assert "over 2 runs" in (study / "report.md").read_text()


def test_each_seed_has_a_validation_split_of_its_own(command, tmp_path):
    sweep = ["-m", "model=mlp", "model.activation=relu,tanh", "seed=0,1,2", "study.vary=[seed,split]"]
    done = command("train", *sweep, "trainer=cpu", *QUICK, "study.name=splits", "study.pack=3")
    assert done.status == 0, done.stderr
    study = tmp_path / "outputs/studies/splits"
    runs = {path.parent.name.rpartition("-")[0]: Run.load(path.parent) for path in study.glob("*/run.json")}
    assert set(runs) == {f"{v}-s{s}" for v in ("relu", "relu-one_split", "tanh") for s in (0, 1, 2)}
    splits = {name: run.config["data"]["split_seed"] for name, run in runs.items()}
    assert splits == {name: 0 if "one_split" in name else int(name[-1]) for name in runs}
    labels = {name: read_answers(run.directory)["val"].label for name, run in runs.items()}
    assert not np.array_equal(labels["relu-s1"], labels["relu-s2"])
    assert np.array_equal(labels["relu-s1"], labels["tanh-s1"])
    for name, run in runs.items():  # packed runs of different seeds had different images
        assert np.array_equal(labels[name], prepared(run.config["data"]).val.labels.numpy())
    report = (study / "report.md").read_text()
    assert "validation split" in report
    assert "relu-one_split |" not in report.partition("## Costs")[0]


@pytest.mark.parametrize(
    ("extra", "said"),
    [
        (["study.vary=[split]"], "study.vary"),
        (["study.vary=[seed,split]", "data.split_seed=0,1"], "data.split_seed swept"),
        (["study.vary=[seed,split]", "data=xo_tricky"], "validation images of its own"),
    ],
)
def test_what_cannot_vary_is_refused(command, extra, said):
    done = command("train", "-m", "seed=0,1", *extra)
    assert done.status == 1
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
