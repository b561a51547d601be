"""A checkpoint file appears whole or not at all."""

import contextlib
import hashlib
import subprocess
import sys

import pytest
import torch

from cnnlab.checkpoints import WholeFiles, clear_parts
from cnnlab.runs import Run


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


@pytest.mark.slow
def test_a_full_disk_ends_the_run_in_one_line_and_keeps_the_earlier_checkpoint(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(disk)], capture_output=True)
    if mounted.returncode:
        pytest.skip("no right to mount a small file system")
    try:
        command = [sys.executable, "-m", "cnnlab.train", "model=softmax", f"hydra.run.dir={disk}/run"]
        first = subprocess.run([*command, "trainer.max_epochs=1"], cwd=tmp_path, capture_output=True, text=True)
        assert first.returncode == 0, first.stderr
        last = disk / "run/checkpoints/last.ckpt"
        before = hashlib.sha256(last.read_bytes()).hexdigest()
        with (disk / "ballast").open("wb", buffering=0) as file:
            with contextlib.suppress(OSError):
                while True:
                    file.write(bytes(4096))
            file.truncate(file.tell() - 15 * 4096)  # room for what is small
        again = [sys.executable, "-m", "cnnlab.train", f"resume={disk}/run", "trainer.max_epochs=5"]
        second = subprocess.run(again, cwd=tmp_path, capture_output=True, text=True)
        assert second.returncode == 1
        assert "No space left on device" in second.stderr
        assert "Traceback" not in second.stderr
        assert hashlib.sha256(last.read_bytes()).hexdigest() == before
        (disk / "ballast").unlink()
        third = subprocess.run(again, cwd=tmp_path, capture_output=True, text=True)
        assert third.returncode == 0, third.stderr
        assert Run.load(disk / "run").metrics["epochs"] == 5
    finally:
        subprocess.run(["umount", "-l", str(disk)])
