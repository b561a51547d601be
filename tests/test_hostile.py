"""Files that somebody has damaged, or means harm with: refused in one line, nothing executed, nothing destroyed."""

import csv
import io
import json
import os
import pickle
import random
import shutil
import tarfile
from pathlib import Path

import pytest
import torch
from children import forked

import cnnlab
from cnnlab.runs.checkpoints import read

pytestmark = pytest.mark.slow


class Payload:
    """Makes a folder when it is unpickled."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self):
        return os.mkdir, (str(self.canary),)


@pytest.fixture
def stopped(digits_run, tmp_path):
    """A copy of a run that wants to go on."""
    copy = tmp_path.parent / f"{tmp_path.name}-run"
    shutil.copytree(digits_run.directory, copy)
    yield copy
    shutil.rmtree(copy)


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """A study of two runs."""
    folder = tmp_path_factory.mktemp("study")
    sweep = ["-m", "model=softmax", "seed=0,1", "trainer=cpu", "trainer.max_epochs=1", "study.name=two"]
    assert forked("train", *sweep, cwd=folder).returncode == 0
    return folder / "outputs/studies/two"


def refused(done, *parts: str) -> None:
    assert done.status == 1
    assert done.stderr.startswith("cnnlab: ")
    assert done.stderr.count("\n") == 1, done.stderr
    for part in parts:
        assert part in done.stderr


def resumed(command, directory: Path, *more: str):
    return command("train", f"resume={directory}", "trainer.max_epochs=3", *more)


def test_a_byte_flipped_anywhere_in_a_checkpoint_is_noticed_or_harmless(stopped):
    path = stopped / "checkpoints/best.ckpt"
    whole, expected = path.read_bytes(), read(path)["state_dict"]
    rng = random.Random(0)
    noticed = 0
    for position in [*range(64), *(rng.randrange(len(whole)) for _ in range(300))]:
        path.write_bytes(whole[:position] + bytes([whole[position] ^ (1 << rng.randrange(8))]) + whole[position + 1 :])
        try:
            content = read(path)["state_dict"]
        except ValueError as error:
            noticed += "damaged" in str(error) and "\n" not in str(error)
        else:
            assert all(torch.equal(content[k], v) for k, v in expected.items())
    assert noticed > 250


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.99])
def test_a_checkpoint_cut_short_is_refused_and_left(command, stopped, share):
    for name, arguments in (("last", None), ("best", "evaluate")):
        path = stopped / f"checkpoints/{name}.ckpt"
        content = path.read_bytes()[: int(share * path.stat().st_size)]
        path.write_bytes(content)
        done = command(arguments, f"run={stopped}") if arguments else resumed(command, stopped)
        refused(done, f"{name}.ckpt", "damaged")
        assert path.read_bytes() == content


@pytest.mark.parametrize("name", ["best", "last"])
def test_code_in_a_checkpoint_is_not_executed(command, stopped, tmp_path, name):
    canary = tmp_path / "canary"
    path = stopped / f"checkpoints/{name}.ckpt"
    content = torch.load(path, weights_only=True)
    torch.save({**content, "payload": Payload(canary)}, path, pickle_module=pickle)
    refused(command("evaluate", f"run={stopped}") if name == "best" else resumed(command, stopped), f"{name}.ckpt")
    path.write_bytes(pickle.dumps(Payload(canary)))
    refused(command("evaluate", f"run={stopped}") if name == "best" else resumed(command, stopped), f"{name}.ckpt")
    assert not canary.exists()


@pytest.mark.parametrize("other", ["model=mlp", "seed=1", "optimizer.lr=0.002"])
def test_a_checkpoint_of_another_run_is_refused_and_the_run_stays_as_it_is(command, stopped, tmp_path, other):
    foreign = cnnlab.fit(["trainer=cpu", "trainer.max_epochs=1", other, f"output_dir={tmp_path}/other"])
    before = (stopped / "run.json").read_bytes()
    shutil.copy(foreign.directory / "checkpoints/last.ckpt", stopped / "checkpoints/last.ckpt")
    refused(resumed(command, stopped), "last.ckpt is of another run", "init_from=RUN_DIR")
    assert (stopped / "run.json").read_bytes() == before
    shutil.copy(foreign.directory / "checkpoints/best.ckpt", stopped / "checkpoints/best.ckpt")
    for name in ("evaluate", "inspect", "robustness", "export"):
        refused(command(name, f"run={stopped}"), "best.ckpt is of another run")


def test_a_run_of_another_config_does_not_start_in_a_directory_with_a_checkpoint(command, stopped):
    before = {p: p.read_bytes() for p in stopped.rglob("*") if p.is_file() and p.name != ".lock"}
    refused(command("train", f"hydra.run.dir={stopped}", "seed=1"), "last.ckpt is of another run")
    assert {p: p.read_bytes() for p in stopped.rglob("*") if p.is_file() and p.name != ".lock"} == before


def test_a_resumed_run_takes_its_own_checkpoints_for_its_own(command, stopped):
    assert resumed(command, stopped).status == 0
    assert command("evaluate", f"run={stopped}").status == 0
    assert command("train", f"resume={stopped}", "trainer.max_epochs=4").status == 0


def test_weights_that_are_not_finite_give_no_answers(command, stopped):
    path = stopped / "checkpoints/best.ckpt"
    content = torch.load(path, weights_only=True)
    content["state_dict"]["network.conv2.conv.weight"][0] = torch.nan
    torch.save(content, path)
    for name in ("evaluate", "inspect", "robustness", "export"):
        refused(command(name, f"run={stopped}"), "best.ckpt: a weight of conv2 is not finite")


@pytest.mark.parametrize("place", ["optimizer", "scheduler", "callbacks", "logger"])
def test_a_foreign_target_in_a_runs_config_is_not_called_whatever_the_run_trusts(command, stopped, tmp_path, place):
    from omegaconf import OmegaConf

    canary = tmp_path / "canary"
    path = stopped / ".hydra/config.yaml"
    config = OmegaConf.load(path)
    call = {"_target_": "os.mkdir", "path": str(canary)}
    config[place] = call if place in ("optimizer", "scheduler") else {"x": call}
    config.trusted_modules = ["os", "posix"]
    OmegaConf.save(config, path)
    refused(resumed(command, stopped), "os.mkdir is no", "trusted_modules")
    assert not canary.exists()


@pytest.mark.parametrize("content", ["!!python/object/apply:os.mkdir [{canary}]", "a: [1", "- 1", "\x00"])
def test_a_damaged_config_is_refused(command, stopped, tmp_path, content):
    canary = tmp_path / "canary"
    (stopped / ".hydra/config.yaml").write_text(content.replace("{canary}", str(canary)))
    refused(resumed(command, stopped), "config.yaml is damaged")
    assert not canary.exists()


@pytest.mark.parametrize("name", ["run.json", "metrics.json"])
@pytest.mark.parametrize("content", ["", "{", "[]", '{"status": 3}'])
def test_damaged_records_are_refused(command, stopped, name, content):
    (stopped / name).write_text(content)
    done = command("report", f"runs=[{stopped},{stopped}]")
    assert done.status in (0, 1)
    assert "Traceback" not in done.stderr
    assert done.stderr.count("\n") <= 1
    assert (stopped / name).read_text() == content


@pytest.mark.parametrize(
    ("name", "key", "value"),
    [
        ("metrics.json", "test/acc", float("nan")),
        ("metrics.json", "test/acc", "high"),
        ("metrics.json", "test/acc", 1e308),
        ("metrics.json", "fit_seconds", 1e308),
        ("run.json", "overrides", None),
        ("run.json", "status", "fine"),
    ],
)
def test_a_run_with_a_damaged_record_is_named_in_a_report_and_stops_no_other(command, two, tmp_path, name, key, value):
    study = shutil.copytree(two, tmp_path / "two")
    path = next(study.glob("*-s1-*")) / name
    path.write_text(json.dumps({**json.loads(path.read_text()), key: value}))
    done = command("report", f"study={study}")
    assert done.status == 0
    assert done.stderr == ""
    rows = list(csv.DictReader(io.StringIO((study / "results.csv").read_text())))
    assert [row["status"] for row in rows] == ["completed", "damaged"]
    assert f"{name} is damaged: {key} is {value!r}" in rows[1]["cause"]
    assert "1 of 2 runs are not completed" in (study / "report.md").read_text()


@pytest.mark.parametrize("key", ["data", "data.batch_size", "study", "trainer.max_epochs", "seed", "model.layers"])
def test_a_config_that_lacks_a_key_is_said_to_be_damaged(command, stopped, key):
    from omegaconf import OmegaConf

    path = stopped / ".hydra/config.yaml"
    config = OmegaConf.load(path)
    *parents, last = key.split(".")
    del (config[parents[0]] if parents else config)[last]
    OmegaConf.save(config, path)
    for done in (resumed(command, stopped), command("evaluate", f"run={stopped}")):
        refused(done, f"config.yaml is damaged: {key} is missing")


def test_an_archive_that_reaches_outside_its_folder_is_not_unpacked(command, tmp_path):
    data = tmp_path / "data"
    (data / "MNIST/raw").mkdir(parents=True)
    with tarfile.open(data / "cifar-10-python.tar.gz", "w:gz") as archive:
        for name in ("../escaped", "/tmp/cnnlab-escaped", "cifar-10-batches-py/data_batch_1"):
            entry = tarfile.TarInfo(name)
            entry.size = 4
            archive.addfile(entry, io.BytesIO(b"evil"))
        link = tarfile.TarInfo("cifar-10-batches-py/link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc"
        archive.addfile(link)
    (data / "MNIST/raw/train-images-idx3-ubyte.gz").write_bytes(b"\x1f\x8bno archive")
    before = {p for p in tmp_path.rglob("*") if not p.name.startswith(".")}
    for name in ("cifar10", "mnist"):
        refused(command("train", f"data={name}"), "no download")
    assert {p for p in tmp_path.rglob("*") if not p.name.startswith(".")} <= before
    assert not Path("/tmp/cnnlab-escaped").exists()
