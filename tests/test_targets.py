"""A `_target_` names a class; a module that cannot hold it is not even imported."""

import shutil
import sys

import pytest
import torch
from lightning.pytorch import Callback
from torch.optim import Optimizer

import cnnlab
from cnnlab.config.identity import MOVED, config_hash, rename_targets
from cnnlab.config.targets import target
from cnnlab.inspection.health import Health
from cnnlab.training.run import resume


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package whose modules leave a file when they are imported."""
    monkeypatch.syspath_prepend(tmp_path)
    folder = tmp_path / "foreign_package"
    folder.mkdir()
    mark = f"import pathlib; pathlib.Path({str(tmp_path)!r}, 'imported').touch()\n"
    (folder / "__init__.py").write_text(mark)
    (folder / "values.py").write_text(f"{mark}answer = 42\ndef Make(*a, **k): pass\n")
    (folder / "own.py").write_text(f"{mark}import torch\nclass Mine(torch.optim.SGD):\n    pass\n")
    (folder / "again.py").write_text(f"{mark}from foreign_package.own import Mine\n")
    yield tmp_path / "imported"
    for name in [m for m in sys.modules if m.partition(".")[0] == "foreign_package"]:
        del sys.modules[name]


@pytest.mark.parametrize("name", ["values.answer", "values.Make", "values.Absent", "own.Yours"])
def test_a_module_that_cannot_hold_the_class_is_not_imported(package, name):
    with pytest.raises(ValueError, match=rf"foreign_package\.{name} is no Optimizer; trusted_modules="):
        target({"_target_": f"foreign_package.{name}"}, Optimizer)
    assert not package.exists()


def test_nor_is_one_that_is_not_there(package):
    with pytest.raises(ValueError, match=r"cannot be imported \(No module named 'foreign_package.absent'\)"):
        target({"_target_": "foreign_package.absent.Mine"}, Optimizer)
    assert not package.exists()


@pytest.mark.parametrize("name", ["own.Mine", "again.Mine"])
def test_a_class_of_ones_own_is_taken_without_trust(package, name):
    made = target({"_target_": f"foreign_package.{name}", "lr": 0.5}, Optimizer)
    assert made([torch.nn.Parameter(torch.zeros(1))]).defaults["lr"] == 0.5


def test_anything_callable_is_taken_from_a_trusted_module(package):
    assert target({"_target_": "foreign_package.values.Make"}, Optimizer, trusted=["foreign_package"])() is None


def test_a_class_is_found_under_its_former_name_and_hashes_stay(composed):
    config = composed("callbacks=inspect", "optimizer=muon")
    former = rename_targets(config, {now: before for before, now in MOVED.items()})
    assert former["optimizer"]["_target_"] == "cnnlab.optim.Muon"
    assert former["callbacks"]["health"]["_target_"] == "cnnlab.callbacks.health.Health"
    assert config_hash(former) == config_hash(config)
    assert config_hash(former | {"seed": 1}) != config_hash(config)
    assert rename_targets(former, MOVED) == config
    assert target(former["callbacks"]["health"], Callback).func is Health


def test_a_run_of_former_names_is_evaluated_resumed_and_compared(digits_run, tmp_path):
    directory = tmp_path / "run"
    shutil.copytree(digits_run.directory, directory)
    path = directory / ".hydra/config.yaml"
    text = path.read_text()
    assert "cnnlab.training.optim.OneCycle" in text
    path.write_text(text.replace("cnnlab.training.optim.", "cnnlab.optim."))
    run = cnnlab.Run.load(directory)
    assert run.evaluate()["test/acc"] == pytest.approx(run.metrics["test/acc"])
    resume(directory, ["trainer.max_epochs=3"])
    assert run.metrics["epochs"] == 3
    assert run.info["config_hash"] == digits_run.info["config_hash"]
    assert "scheduler._target_" not in cnnlab.compare([digits_run, directory])[0]
