"""Files that somebody has damaged, or means harm with: refused in one line, nothing executed, nothing destroyed."""

import io
import os
import pickle
import random
import shutil
import tarfile
from pathlib import Path

import pytest
import torch

import cnnlab
from cnnlab.checkpoints import read


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


def test_a_checkpoint_of_another_network_is_refused(command, stopped, tmp_path):
    other = cnnlab.fit(["trainer=cpu", "trainer.max_epochs=1", "model=mlp", f"output_dir={tmp_path}/other"])
    shutil.copy(other.directory / "checkpoints/last.ckpt", stopped / "checkpoints/last.ckpt")
    refused(resumed(command, stopped), "another network")


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
