"""A checkpoint file appears whole or not at all."""

import contextlib
import hashlib
import subprocess

import pytest
import torch
from children import forked

import cnnlab
from cnnlab.runs.checkpoints import WholeFiles, clear_parts
from cnnlab.training.run import resume

pytestmark = pytest.mark.slow


def test_a_save_that_fails_leaves_the_earlier_file_and_says_which(tmp_path, monkeypatch):
    target = tmp_path / "last.ckpt"
    WholeFiles().save_checkpoint({"a": torch.ones(3)}, target)
    before = target.read_bytes()

    def full(content, file):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OSError, match=r"last\.ckpt cannot be written: .*No space left on device"):
        WholeFiles().save_checkpoint({"a": torch.zeros(3)}, target)
    assert target.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["last.ckpt"]


def test_what_a_killed_save_left_is_cleared(tmp_path):
    (tmp_path / ".last.ckpt.123.part").write_bytes(b"half")
    (tmp_path / "last.ckpt").write_bytes(b"whole")
    clear_parts(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["last.ckpt"]


@pytest.fixture
def disk(tmp_path):
    """A file system of six megabytes; `mount` may mount it anew, with other options."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def mount(*options: str) -> subprocess.CompletedProcess:
        return subprocess.run(["mount", *options, str(folder)], capture_output=True)

    if mount("-t", "tmpfs", "-o", "size=6m", "tmpfs").returncode:
        pytest.skip("no right to mount a small file system")
    yield folder, mount
    subprocess.run(["umount", "-l", str(folder)])


def test_an_output_directory_that_cannot_be_written_ends_the_run_in_one_line(disk, tmp_path):
    folder, mount = disk
    start = ["model=softmax", "trainer.max_epochs=1", f"hydra.run.dir={folder}/run"]
    assert forked("train", *start, cwd=tmp_path).returncode == 0  # in a process, so that no file stays open
    before = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    assert mount("-o", "remount,ro").returncode == 0
    for arguments in ([f"output_dir={folder}"], [f"resume={folder}/run", "trainer.max_epochs=2"]):
        done = forked("train", *arguments, cwd=tmp_path)
        assert done.returncode == 1
        assert "Read-only file system" in done.stderr
        assert str(folder) in done.stderr
        assert done.stderr.count("\n") == 1, done.stderr
    assert before == {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_a_full_disk_ends_the_run_in_one_line_and_keeps_the_earlier_checkpoint(disk, tmp_path):
    folder, _ = disk
    run = cnnlab.fit(["model=softmax", "trainer=cpu", "trainer.max_epochs=1", f"hydra.run.dir={folder}/run"])
    last = folder / "run/checkpoints/last.ckpt"
    before = hashlib.sha256(last.read_bytes()).hexdigest()
    with (folder / "ballast").open("wb", buffering=0) as file:
        with contextlib.suppress(OSError):
            while True:
                file.write(bytes(4096))
        file.truncate(file.tell() - 15 * 4096)  # room for what is small
    again = [f"resume={folder}/run", "trainer.max_epochs=5"]
    second = forked("train", *again, cwd=tmp_path)
    assert second.returncode == 1
    assert "No space left on device" in second.stderr
    assert "Traceback" not in second.stderr
    assert hashlib.sha256(last.read_bytes()).hexdigest() == before
    (folder / "ballast").unlink()
    resume(run.directory, again[1:])
    assert run.metrics["epochs"] == 5
