"""The commands as people type them: real processes, exit status, one line on stderr, files where they belong."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from children import forked
from PIL import Image

from cnnlab.trained.run import Run

pytestmark = pytest.mark.slow


def cnnlab(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", f"cnnlab.{arguments[0]}", *arguments[1:]]
    env = {k: v for k, v in os.environ.items() if k != "CNNLAB_DATA_DIR"} | environment
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=300)


def test_train_from_an_empty_directory_prints_table_run_and_tensorboard(tmp_path):
    done = cnnlab("train", "trainer.max_epochs=1", "model=softmax", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "test/acc" in done.stdout
    (run,) = (tmp_path / "outputs/runs").iterdir()
    assert f"tensorboard --logdir outputs/runs/{run.name}" in done.stdout
    assert "GPU available" not in done.stdout + done.stderr  # Lightning's remarks are in train.log
    assert done.stderr == ""


def test_a_plain_sweep_makes_a_run_for_each_choice(tmp_path):
    done = forked("train", "-m", "model=softmax,mlp", "trainer.max_epochs=1", "seed=1,2", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    runs = [Run.load(p.parent) for p in tmp_path.glob("outputs/studies/*/*/run.json")]
    assert len(runs) == 4
    assert {(r.config["model"]["name"], r.config["seed"]) for r in runs} == {
        ("softmax", 1), ("softmax", 2), ("mlp", 1), ("mlp", 2),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "model.actvation=relu"], 'model.actvation: there is no such key; did you mean "activation"?'),
        (["train", "trainer=gpu"], "this machine has no GPU"),
        (["evaluate", "run=nowhere"], "nowhere is no run directory"),
    ],
)
def test_bad_requests_get_one_line_and_leave_nothing(tmp_path, arguments, message):
    """Before and after torch is imported; test_requests.py has hundreds, in a process that is there already."""
    done = cnnlab(*arguments, cwd=tmp_path, CUDA_VISIBLE_DEVICES="")
    assert done.returncode == 1
    assert message in done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    assert list(tmp_path.iterdir()) == []


def test_without_network_and_files_one_line_says_what_helps(tmp_path):
    done = cnnlab(
        "train", "data=mnist", cwd=tmp_path, http_proxy="http://127.0.0.1:9", https_proxy="http://127.0.0.1:9"
    )
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "MNIST/raw" in done.stderr
    assert str(tmp_path / "data") in done.stderr
    assert "data=digits or data=xo" in done.stderr
    assert not (tmp_path / "outputs").exists()


def test_help_answers_without_importing_torch(tmp_path):
    code = (
        "import sys; sys.argv = ['train', '--help']; from cnnlab.train import main; main(); "
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "alexnet_cifar, " in done.stdout


def test_summary_as_json_is_only_json(tmp_path):
    done = forked("summary", "model=lenet5", "data=mnist", "format=json", cwd=tmp_path)
    table = json.loads(done.stdout)
    assert set(table) >= {"model", "input_shape", "layers", "params", "macs"}
    first = {"name": "conv1", "kind": "conv", "from": ["input"], "output_shape": [6, 28, 28], "params": 156}
    assert table["layers"][0] == {**first, "macs": 117_600, "memory": 2 * 4 * 6 * 28 * 28, "receptive_field": 5}
    assert (table["params"], table["macs"]) == (61_706, 416_520)
    assert list(tmp_path.iterdir()) == []


def test_summary_takes_a_shape_in_place_of_data(tmp_path):
    done = forked("summary", "model=alexnet_cifar", "input_shape=[3,227,227]", "num_classes=1000", cwd=tmp_path)
    assert "alexnet_cifar on 3x227x227, 1000 classes" in done.stdout
    assert "1000" in done.stdout.splitlines()[-2]


def test_evaluate_writes_beside_the_run_and_leaves_its_metrics(tmp_path, digits_run):
    before = (digits_run.directory / "metrics.json").read_bytes()
    done = forked("evaluate", f"run={digits_run.directory}", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    written = json.loads((digits_run.directory / "evaluate/digits.json").read_text())
    assert f"{written['test/acc']:.4f}" in done.stdout
    assert (digits_run.directory / "metrics.json").read_bytes() == before


def test_predict_takes_any_picture_and_names_the_unreadable(tmp_path, digits_run):
    from cnnlab.data.load import load

    test = load(digits_run.config["data"]).test
    pictures = tmp_path / "my pictures"
    pictures.mkdir()
    for i, mode in enumerate(["L", "RGB", "RGBA", "P", "I;16", "1"]):
        grey = Image.fromarray(np.kron(test.inputs[i, 0].numpy(), np.ones((9, 9), np.uint8)))
        picture = Image.fromarray(np.array(grey).astype(np.uint16) * 257) if mode == "I;16" else grey.convert(mode)
        picture.save(pictures / f"{i}-{mode.replace(';', '')}.png")
    (pictures / "6-broken.png").write_bytes(b"\x89PNG nothing")
    output = tmp_path / "out.csv"
    done = forked("predict", f"run={digits_run.directory}", f"images={pictures}", f"output={output}", cwd=tmp_path)
    assert done.returncode == 1
    assert "1 of 7 files could not be read" in done.stderr
    assert "6-broken.png" in done.stderr
    with output.open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0])[:4] == ["file", "label", "probability", "error"]
    assert all(row["label"] in digits_run.classes and 0 < float(row["probability"]) <= 1 for row in rows[:6])
    # the mode makes no difference to the digit that is seen; black and white alone may
    assert sum(row["label"] == str(label) for row, label in zip(rows[:5], test.labels.tolist()[:5], strict=True)) >= 4
    assert rows[6]["error"]


def test_ctrl_c_ends_the_run_with_its_status(tmp_path):
    command = [sys.executable, "-m", "cnnlab.train", "trainer.max_epochs=10000", "trainer=cpu"]
    process = subprocess.Popen(
        command,
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # a shell that runs these tests in the background has Ctrl-C ignored, which children inherit
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob("outputs/runs/*/checkpoints/last.ckpt")):
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130, stderr
    assert "Traceback" not in stderr
    (directory,) = (tmp_path / "outputs/runs").iterdir()
    assert Run.load(directory).status == "interrupted"


def test_predict_answers_for_files_whose_names_are_no_text(tmp_path, digits_run):
    picture = tmp_path / os.fsdecode(b"pictures/caf\xe9.png")
    picture.parent.mkdir()
    Image.new("L", (8, 8), 200).save(picture)
    Image.new("L", (8, 8), 90).save(picture.with_name("plain.png"))
    done = forked("predict", f"run={digits_run.directory}", "images=pictures", "output=out.csv", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert b"caf\xe9.png," in (tmp_path / "out.csv").read_bytes()
    assert len((tmp_path / "out.csv").read_bytes().splitlines()) == 3
