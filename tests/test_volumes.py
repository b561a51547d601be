"""Volumes, inputs of three axes: a run on them, what is made of it, and what shows pictures alone."""

from pathlib import Path

import pytest
import torch
from PIL import Image

from cnnlab.data.examples import Examples, Splits
from cnnlab.data.forms import ARRAYS
from cnnlab.data.sources import SOURCES, Source
from cnnlab.trained.export import export
from cnnlab.trained.run import Run

SHAPE = (1, 9, 10, 11)
MODEL = """
name: solid
activation: relu
layers:
  conv1: {kind: conv, channels: 6, kernel_size: 3, padding: same, norm: batch}
  pool1: {kind: maxpool, kernel_size: 2, ceil: true}
  conv2: {kind: conv, channels: 8, kernel_size: 3, stride: 2, padding: same}
  pool2: {kind: adaptive_maxpool}
  head: {kind: classifier}
remove: []
"""


def bars(count: int, seed: int) -> Examples:
    """Noisy volumes with a bar of five points, along one of the three axes, which is the label."""
    drawn = torch.Generator().manual_seed(seed)
    volumes = torch.randint(0, 90, (count, *SHAPE), generator=drawn, dtype=torch.uint8)
    labels = torch.arange(count) % 3
    for volume, axis in zip(volumes[:, 0], labels.tolist(), strict=True):
        starts = [int(torch.randint(n - 4 * (a == axis), (), generator=drawn)) for a, n in enumerate(volume.shape)]
        volume[tuple(slice(s, s + (5 if a == axis else 1)) for a, s in enumerate(starts))] = 250
    return Examples(volumes, labels)


@pytest.fixture
def volumes(tmp_path_factory, monkeypatch):
    """Overrides of a run on volumes."""
    folder = tmp_path_factory.mktemp("conf")
    (folder / "model").mkdir()
    (folder / "model/solid.yaml").write_text(MODEL)
    source = Source(lambda c: Splits(["x", "y", "z"], bars(1200, 0), bars(300, 1)), lambda c: (SHAPE, 3), form=ARRAYS)
    monkeypatch.setitem(SOURCES, "bars", source)
    data = ["data=digits", "data.name=bars", "data.resize=null", "augment=none"]
    return ["--config-dir", str(folder), *data, "model=solid", "trainer=cpu"]


@pytest.mark.slow
def test_a_run_on_volumes_learns_and_is_used(volumes, command, tmp_path):
    done = command("train", *volumes, "trainer.max_epochs=8", "optimizer.lr=0.02", "data.batch_size=32")
    assert done.status == 0, done.stderr
    (directory,) = (tmp_path / "outputs/runs").iterdir()
    run = Run.load(directory)
    assert run.metrics["test/acc"] > 0.9
    assert run.evaluate()["test/acc"] == pytest.approx(run.metrics["test/acc"])
    assert run.evaluate(lesion="conv1")[1]["test/acc"] < run.metrics["test/acc"]
    assert all(difference < 1e-5 for _, difference in export(run, tmp_path / "out").values())
    assert run.predict(bars(3, 2).inputs)[0].keys() >= {"label", "probability"}
    Image.new("L", (9, 9)).save(tmp_path / "a.png")
    for tool in ("robustness", "play"):
        done = command(tool, f"run={directory}")
        assert done.status == 1
        (line,) = [line for line in done.stderr.splitlines() if line.startswith("cnnlab: ")]
        assert line.endswith((" holds arrays", " takes arrays"))
    done = command("predict", f"run={directory}", "images=a.png")
    assert done.status == 1
    assert done.stderr == "cnnlab: images=a.png: examples of data=bars are in no files; give Run.predict a tensor\n"
    done = command("inspect", f"run={directory}")
    assert done.status == 0
    assert "saliency left out: it looks at pictures and sentences" in done.stdout


def test_what_is_for_pictures_is_refused_before_a_volume_is_trained_on(volumes, command, tmp_path):
    for asked, words in {
        "data.resize=8": "data.resize=8 is for pictures, and data=bars holds none",
        "data.trim=1": "data.trim=1 is for pictures",
        "augment=affine": "augment: ",
    }.items():
        done = command("train", *volumes, asked)
        assert done.stderr.startswith(f"cnnlab: {words}"), done.stderr
        assert done.stderr.count("\n") == 1
        assert not (tmp_path / "outputs").exists()


@pytest.mark.slow
def test_runs_on_volumes_train_together(volumes, command):
    together = command("train", "-m", *volumes, "trainer.max_epochs=1", "seed=0,1", "study.pack=2", "study.name=two")
    alone = command("train", "-m", *volumes, "trainer.max_epochs=1", "seed=0,1", "study.name=one")
    assert together.status == alone.status == 0, together.stderr + alone.stderr
    found = [
        Run.load(d).metrics for name in ("two", "one") for d in sorted(Path("outputs/studies", name).glob("*-s?-*"))
    ]
    for packed, single in zip(found[:2], found[2:], strict=True):
        assert packed["train/loss"] == pytest.approx(single["train/loss"], rel=1e-3)
