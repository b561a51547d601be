"""The notebook interface does what the commands do, and refuses in one line what they refuse."""

import json
import subprocess
import sys

import pytest
import torch
from PIL import Image

import cnnlab
from cnnlab.reporting.study import read_study
from cnnlab.runs.record import read_history
from cnnlab.training.callbacks.progress import TrainingProgress

QUICK = ["data=xo", "data.train_size=200", "data.test_size=50", "model=mlp", "trainer=cpu", "trainer.max_epochs=2"]


def refusal(function, *arguments, **options) -> str:
    """The one line of a ValueError."""
    with pytest.raises(ValueError, match=r"\A.+\Z") as caught:
        function(*arguments, **options)
    return str(caught.value)


# --- fit


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["model=lenet"], 'model=lenet: there is none; did you mean "lenet5"?'),
        (["lr=1"], 'lr: there is no such key; did you mean "optimizer.lr"?'),
        (["optimizer.lr=-1"], "optimizer: Invalid learning rate: -1"),
        (["seed=[1"], "no viable alternative at input '[1'"),
        (["data=xo", "model=lenet5"], "conv2: 5x5 window on 4x4"),
        (["output_dir=/dev/null/x"], "Not a directory: '/dev/null/x"),
        (["resume=nowhere"], "nowhere is no run directory"),
        ("data=digits", 'overrides are a list: fit(["data=digits"])'),
        ("data=xo model=mlp", 'overrides are a list: fit(["data=xo", "model=mlp"])'),
        ({"seed": 1}, 'overrides are a list, as on the command line: fit(["seed=1"])'),
        ([1], 'overrides are text, such as "seed=1", not 1'),
        (["-m", "seed=1"], "-m is an option of the command"),
        (
            ["data=xo", "seed=0,1"],
            "seed=0,1 is a sweep, and fit trains one run: call fit for each value, or run "
            "`python -m cnnlab.train -m data=xo seed=0,1`; a list is written seed=[0,1]",
        ),
        (["seed=range(3)"], "call fit for each value, or run `python -m cnnlab.train -m 'seed=range(3)'`"),
        (
            ["ablation=leave_one_out", "data=xo"],
            "ablation=leave_one_out trains several runs, and fit one: run `python -m cnnlab.train "
            'ablation=leave_one_out data=xo`, then cnnlab.compare("outputs/studies/...")',
        ),
        (["experiment=lenet5_search"], "experiment=lenet5_search trains several runs, and fit one"),
        (["hydra.mode=MULTIRUN"], "hydra.mode=MULTIRUN trains several runs"),
        (["study.seeds=[0,1]"], "study.seeds=[0, 1]: fit trains one run; `python -m cnnlab.train -m` makes a study"),
    ],
)
def test_fit_refuses_in_the_commands_one_line_and_leaves_nothing(tmp_path, monkeypatch, overrides, message):
    monkeypatch.chdir(tmp_path)
    assert message in refusal(cnnlab.fit, overrides)
    assert list(tmp_path.iterdir()) == []


def test_the_original_error_stays_at_hand():
    from hydra.errors import MissingConfigException

    with pytest.raises(ValueError, match="there is none") as caught:
        cnnlab.fit(["model=lenet"])
    assert isinstance(caught.value.__cause__, MissingConfigException)


def test_what_stops_a_training_is_no_value_error(tmp_path, monkeypatch):
    request = [*QUICK, f"output_dir={tmp_path}"]
    with pytest.raises(FloatingPointError, match=r"\A.+\Z"):
        cnnlab.fit([*request, "optimizer=sgd", "optimizer.lr=1e30"])

    def stop(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("cnnlab.training.run.fit_and_test", stop)
    with pytest.raises(KeyboardInterrupt):
        cnnlab.fit(request)


def test_fit_resumes_as_the_command_does(tmp_path, capsys):
    run = cnnlab.fit([*QUICK, f"output_dir={tmp_path}"])
    assert cnnlab.fit([f"resume={run.directory}"]) == run
    assert "nothing to do" in capsys.readouterr().out
    resumed = cnnlab.fit([f"resume={run.directory}", "trainer.max_epochs=3"])
    assert (resumed, resumed.metrics["epochs"]) == (run, 3)
    assert "only trainer.max_epochs may change" in refusal(cnnlab.fit, [f"resume={run.directory}", "optimizer.lr=1"])
    for value, said in (("x", "must be a whole number"), ("[", "is not written as YAML has it"), ("{a}", "max_epochs")):
        assert said in refusal(cnnlab.fit, [f"resume={run.directory}", f"trainer.max_epochs={value}"])
    assert len(list((tmp_path / "runs").iterdir())) == 1


# --- Run


def test_a_run_that_is_asked_for_files_answers_as_the_command(digits_run, command, tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for shade in range(3):
        Image.new("L", (28, 28), shade * 100).save(folder / f"{shade}.png")
    (folder / "broken.png").write_bytes(b"\x89PNG")
    assert command("predict", f"run={digits_run.directory}", f"images={folder}", "output=out.csv").status == 1
    rows = digits_run.predict(folder)
    assert rows.csv() == (tmp_path / "out.csv").read_text()
    assert list(rows[0])[:4] == ["file", "label", "probability", "error"]
    assert [bool(row["error"]) for row in rows] == [False, False, False, True]
    file = folder / "1.png"
    for given in (str(file), file, [str(file)], (file,), (path for path in [file])):
        (row,) = digits_run.predict(given)
        assert row == {k: pytest.approx(v) if isinstance(v, float) else v for k, v in rows[1].items()}
    assert [row["file"] for row in digits_run.predict([file, folder])] == [str(file), *(row["file"] for row in rows)]
    assert digits_run.predict([]) == []


def test_a_run_that_is_asked_for_a_tensor_answers_each_image(digits_run):
    images = torch.randint(0, 256, (3, 1, 28, 28), dtype=torch.uint8)
    rows = digits_run.predict(images)
    guesses = [f"{key}{rank}" for rank in ("", 2, 3, 4, 5) for key in ("label", "probability")]
    assert [list(row) for row in rows] == [guesses] * 3
    assert digits_run.predict(images.numpy()) == rows
    assert digits_run.predict(images[1])[0]["label"] == rows[1]["label"]
    assert "<table>" in rows._repr_html_()


def test_predict_refuses_what_it_cannot_take(digits_run, tmp_path):
    def said(images):
        return refusal(digits_run.predict, images)

    assert said(tmp_path / "none.png") == f"images={tmp_path}/none.png: there is no such file or folder"
    assert "holds no image files" in said(tmp_path)
    assert said(torch.rand(2, 3, 28, 28)) == (
        "images are 2x3x28x28, and this network takes Nx1x28x28; image files may have any size"
    )
    assert "images are 28x28, and" in said(torch.rand(28, 28))
    assert "images are torch.int64; give bytes" in said(torch.ones(1, 1, 28, 28, dtype=torch.int64))
    assert "one tensor (N, C, H, W), not Tensor" in said([torch.rand(1, 28, 28)])
    assert "not NoneType" in said(None)


def test_history_has_a_row_for_each_epoch(digits_run):
    rows = digits_run.history
    assert [row["epoch"] for row in rows] == [1, 2]
    assert rows.columns == ["epoch", "train/loss", "val/loss", "val/acc", "train/images_per_second"]
    assert rows[-1]["train/loss"] == pytest.approx(digits_run.metrics["train/loss"])
    assert max(row["val/acc"] for row in rows) == pytest.approx(digits_run.metrics["val/acc"])


def test_history_goes_over_resumes_and_epochs_without_validation(tmp_path):
    run = cnnlab.fit([*QUICK, f"output_dir={tmp_path}", "trainer.check_val_every_n_epoch=2"])
    for epochs in range(3, 13):  # version_10 comes after version_9
        cnnlab.fit([f"resume={run.directory}", f"trainer.max_epochs={epochs}"])
    assert (run.directory / "csv/version_10").is_dir()
    assert [row["epoch"] for row in run.history] == list(range(1, 13))
    assert ["val/acc" in row for row in run.history] == [False, True] * 6


def test_of_an_epoch_that_was_logged_twice_the_later_log_counts(tmp_path):
    for version, loss in ((2, 0.5), (9, 0.4), (10, 0.3)):
        folder = tmp_path / f"csv/version_{version}"
        folder.mkdir(parents=True)
        (folder / "metrics.csv").write_text(
            f"epoch,step,test/acc,train/loss,train/loss_step,val/acc\n,1,,,2.0,\n0,5,,{loss},,\n0,5,,,,0.{version}\n"
            "1,9,0.5,,,\n"
        )
    assert read_history(tmp_path) == [{"epoch": 1, "train/loss": 0.3, "val/acc": 0.1}]
    with (folder / "metrics.csv").open("a") as file:
        file.write("1,9,,0.2,,\n2,13,,0.1")  # being written
    assert [row["train/loss"] for row in read_history(tmp_path)] == [0.3, 0.2]
    (folder / "metrics.csv").write_text("epoch,train/loss\n0,1,2,3\n0,x\n")
    assert "version_10/metrics.csv is damaged" in refusal(read_history, tmp_path)


def test_history_of_a_run_that_is_still_running(tmp_path, monkeypatch):
    lengths, start = [], TrainingProgress.on_train_epoch_start

    def look(self, *arguments):
        (directory,) = (tmp_path / "runs").iterdir()
        lengths.append(len(cnnlab.Run.load(directory).history))
        start(self, *arguments)

    monkeypatch.setattr(TrainingProgress, "on_train_epoch_start", look)
    run = cnnlab.fit([*QUICK, f"output_dir={tmp_path}", "trainer.max_epochs=3"])
    assert sorted(set(lengths)) == [0, 1, 2]
    assert len(run.history) == 3


def test_without_the_csv_logger_history_says_what_is_missing(tmp_path):
    run = cnnlab.fit([*QUICK, f"output_dir={tmp_path}", "logger.csv=null"])
    assert "has no history, which the CSV logger writes; train with logger=default" in refusal(lambda: run.history)


def test_evaluate_does_what_the_command_does(digits_run, command, tmp_path):
    assert digits_run.evaluate()["test/acc"] == pytest.approx(digits_run.metrics["test/acc"])
    other = ["data=digits", "data.eval_batch_size=7"]
    assert digits_run.evaluate("digits") == digits_run.evaluate("data=digits") == digits_run.evaluate()
    assert digits_run.evaluate(other)["images"] == 360
    assert digits_run.evaluate({**digits_run.config["data"], "name": "digits"}) == digits_run.evaluate()
    table = digits_run.evaluate(lesion=["conv1", "conv2"], lesion_by="zero")
    done = command("evaluate", f"run={digits_run.directory}", "lesion=[conv1,conv2]", "lesion_by=zero")
    assert str(table) == done.stdout.strip()
    assert digits_run.evaluate(["lesion=[conv1,conv2]", "lesion_by=zero"]) == table
    assert [row["lesion"] for row in digits_run.evaluate("digits", lesion="each")][:2] == ["none", "conv1"]


def test_evaluate_refuses_in_one_line(digits_run):
    assert refusal(digits_run.evaluate, "digit") == 'data=digit: there is none; did you mean "digits"?'
    assert "classes this run was not trained on: X, O" in refusal(digits_run.evaluate, "xo")
    assert "batch_siz: there is no such key" in refusal(digits_run.evaluate, ["data=xo", "data.batch_siz=3"])
    assert "unknown layer to silence" in refusal(digits_run.evaluate, lesion=["conv9"])
    assert "needs lesion=..." in refusal(digits_run.evaluate, lesion_by="zero")


# --- compare


def test_compare_takes_a_study(command, tmp_path):
    study = ["-m", "model.activation=relu,tanh", "seed=0,1", "study.name=tiny"]
    assert command("train", *study, *QUICK).status == 0
    directory = tmp_path / "outputs/studies/tiny"
    table = cnnlab.compare(directory)
    assert [(row["variant"], row["seed"]) for row in table] == [("relu", 0), ("relu", 1), ("tanh", 0), ("tanh", 1)]
    assert table.columns[:3] == ["variant", "seed", "model.activation"]
    assert not [name for name in table.columns if name.startswith(("study", "status"))]
    assert all(0 <= row["test/acc"] <= 1 for row in table)
    assert cnnlab.compare(str(directory)) == cnnlab.compare([directory]) == table
    runs = [cnnlab.Run.load(p.parent) for p in sorted(directory.glob("*/run.json"))]
    assert [row["run"] for row in cnnlab.compare(runs)] == [run.directory.name for run in runs]
    assert len(cnnlab.compare([*runs, directory])) == 8
    (runs[0].directory / "csv/version_0/metrics.csv").write_text("epoch,val/acc\n0,high\n")
    curves = read_study(directory).curves
    logged = [[row["val/acc"] for row in run.history] for run in runs[1:]]
    assert curves["relu"]["val/acc"].mean.tolist() == logged[0]  # of one run, whose log is whole
    assert curves["tanh"]["val/acc"].lowest.tolist() == [min(pair) for pair in zip(*logged[1:], strict=True)]
    half = json.loads((runs[0].directory / "run.json").read_text()) | {"status": "failed"}
    (runs[0].directory / "run.json").write_text(json.dumps(half))
    (runs[0].directory / "metrics.json").unlink()
    row = cnnlab.compare(directory)[0]
    assert (row["status"], row.get("test/acc")) == ("failed", None)


def test_compare_takes_one_run_and_a_folder_of_runs(digits_run):
    assert cnnlab.compare(digits_run) == cnnlab.compare(digits_run.directory)
    assert cnnlab.compare(digits_run.directory.parent)[0]["run"] == digits_run.directory.name


def test_compare_says_where_there_is_nothing(tmp_path):
    assert refusal(cnnlab.compare, tmp_path) == f"{tmp_path} holds no runs"
    assert refusal(cnnlab.compare, [f"{tmp_path}/none"]) == f"{tmp_path}/none: there is no such directory"
    assert "nothing to compare" in refusal(cnnlab.compare, [])
    (tmp_path / "plan.json").write_text("{}")
    assert "plan.json is damaged" in refusal(cnnlab.compare, tmp_path)


# --- what there is


def test_dir_shows_what_there_is():
    assert {"Run", "compare", "fit"} <= set(dir(cnnlab))
    assert not {"Any", "TYPE_CHECKING"} & set(dir(cnnlab))
    names = {"load", "config", "info", "metrics", "history", "classes", "network", "classifier", "predict", "evaluate"}
    assert names <= set(dir(cnnlab.Run))
    assert all(getattr(cnnlab.Run, name).__doc__ for name in names - {"config"})


def test_looking_around_imports_neither_torch_nor_hydra(tmp_path, digits_run):
    code = (
        "import sys, cnnlab\ndir(cnnlab), cnnlab.compare\n"
        "run = cnnlab.Run.load(sys.argv[1])\nrun, run.metrics, dir(run)\n"
        "assert not {'torch', 'hydra', 'lightning', 'numpy'} & set(sys.modules), sys.modules.keys()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(digits_run.directory)], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.iterdir()) == []
