"""How far a study is: counted from run directories, learned from what is over, shown on a terminal and in a pipe."""

import fcntl
import json
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from cnnlab.studies import progress
from cnnlab.studies.progress import follow
from cnnlab.studies.tally import Tally

START = 1_700_000_000


def note(directory: Path, status: str, began: float = 0, ended: float | None = None, **more: object) -> Path:
    """What a run leaves in its `run.json`; times are seconds after START."""
    directory.mkdir(exist_ok=True)
    times = [None if t is None else datetime.fromtimestamp(START + t, UTC).isoformat() for t in (began, ended)]
    content = {"status": status, "started": times[0], "ended": times[1], **more}
    part = directory / ".part"
    part.write_text(json.dumps(content))
    part.replace(directory / "run.json")
    return directory


def tally_of(folder: Path, *names: str, **arguments: object) -> Tally:
    tally = Tally(len(names), **arguments)
    tally.expect(folder / name for name in names)
    return tally


def test_runs_are_counted_by_what_their_directories_say_and_each_once(tmp_path):
    names = [f"a-s{seed}-0" for seed in range(4)]
    note(tmp_path / names[0], "failed", 0, 1)  # of an earlier attempt
    tally = tally_of(tmp_path, *names)
    assert tally.look() == []
    assert tally.line() == "0 of 4 runs"
    note(tmp_path / names[0], "running", 10)
    note(tmp_path / names[1], "running", 10)
    assert tally.look() == []
    over = [note(tmp_path / names[0], "failed", 10, 11), note(tmp_path / names[1], "completed", 10, 20)]
    assert tally.look() == over
    assert tally.look() == []
    assert tally.line().startswith("2 of 4 runs, 1 failed, ")
    (tmp_path / names[2]).mkdir()
    (tmp_path / names[2] / "run.json").write_text("{")  # in a moment it may be whole
    assert tally.look() == []
    note(tmp_path / names[2], "interrupted", 20, 21)
    assert tally.look() == [tmp_path / names[2]]
    note(tmp_path / names[3], "completed", 20, 21)
    tally.look()
    assert tally.line() == "4 of 4 runs, 2 failed"


def test_what_is_left_is_learned_from_the_runs_that_are_over(tmp_path):
    names = [f"{variant}-s{seed}-0" for seed in range(3) for variant in ("fast", "slow")]
    tally = tally_of(tmp_path, *names, guesses={"fast": 1.0, "slow": 5.0})
    note(tmp_path / names[0], "running")
    note(tmp_path / names[1], "running")
    tally.look()
    assert tally.left(START + 9) is None
    note(tmp_path / names[0], "completed", 0, 10)
    tally.look()
    # two at a time: fast took ten times what was guessed, so slow takes 50: 40 of the one under way, 2 fast, 2 slow
    assert tally.left(START + 10) == pytest.approx((40 + 2 * 10 + 2 * 50) / 2)
    note(tmp_path / names[1], "completed", 0, 30)
    note(tmp_path / names[2], "completed", 10, 20)
    note(tmp_path / names[3], "running", 20)
    tally.look()
    # 30 + 10 + 10 + 10 seconds of work in 30: two at a time; fast 10, slow 30
    assert tally.left(START + 30) == pytest.approx((20 + 10 + 30) / 2)
    note(tmp_path / names[3], "completed", 20, 50)
    note(tmp_path / names[4], "completed", 20, 30)
    note(tmp_path / names[5], "running", 50)
    tally.look()
    assert tally.left(START + 50) == 30  # the last one has nothing beside it


def test_a_resumed_or_failed_run_says_nothing_of_how_long_one_takes(tmp_path):
    tally = tally_of(tmp_path, *(f"a-s{seed}-0" for seed in range(4)))
    note(tmp_path / "a-s0-0", "completed", 0, 1, resumed={})
    note(tmp_path / "a-s1-0", "failed", 1, 2)
    tally.look()
    assert tally.left(START + 2) is None
    note(tmp_path / "a-s2-0", "completed", 2, 12)
    tally.look()
    assert tally.left(START + 12) == pytest.approx(10)


WORK = """
import sys, threading, time
from pathlib import Path
from cnnlab.studies import progress
from cnnlab.studies.progress import follow
from cnnlab.studies.tally import Tally
progress.LOOK_EVERY = 0.1
with follow(Tally(56, 12)):
    print("a result", flush=True)
    sys.stdin.readline()
print("the report", flush=True)
"""


def test_on_a_terminal_one_line_stays_below_what_scrolls_and_goes_away():
    ours, theirs = pty.openpty()

    def resize(rows: int) -> None:
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, 80, 0, 0))

    def read_until(wanted: bytes) -> bytes:
        read = b""
        while wanted not in read:
            assert select.select([ours], [], [], 60)[0], read
            read += os.read(ours, 4096)
        return read

    resize(24)
    environment = {**os.environ, "TERM": "xterm"}
    command = [sys.executable, "-c", WORK]
    work = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=theirs, stderr=theirs, env=environment)
    first = read_until(b"12 of 56 runs\x1b8")
    assert b"\n\x1b7\x1b[1;23r\x1b8\x1b[1A\x1b7\x1b[24;1H\x1b[2K12 of 56 runs\x1b8" in first  # lines 1 to 23 scroll
    resize(30)
    read_until(b"\n\x1b7\x1b[1;29r\x1b8\x1b[1A\x1b7\x1b[30;1H\x1b[2K12 of 56 runs\x1b8")
    work.communicate(b"\n", timeout=60)
    assert b"\x1b7\x1b[30;1H\x1b[2K\x1b[r\x1b8the report" in read_until(b"the report")
    for end_of in (ours, theirs):
        os.close(end_of)


def test_elsewhere_plain_lines_come_more_and_more_seldom(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(progress, "FIRST_LINE", 0.1)
    monkeypatch.setattr(progress, "LOOK_EVERY", 0.01)
    told: list[Path] = []
    tally = tally_of(tmp_path, "a-s0-0", "a-s1-0")
    with follow(tally, told.append):
        note(tmp_path / "a-s0-0", "completed", 0, 1)
        time.sleep(1)  # lines after 0.1, 0.3 and 0.7 seconds
        note(tmp_path / "a-s1-0", "failed", 0, 1)  # which is seen at the end
    assert told == [tmp_path / "a-s0-0", tmp_path / "a-s1-0"]
    out, err = capsys.readouterr()
    assert out == ""
    assert 1 <= len(err.splitlines()) <= 3
    assert all(line.startswith("1 of 2 runs, ") for line in err.splitlines())
    assert "\x1b" not in err


@pytest.mark.slow
def test_a_study_whose_workers_print_into_files_says_what_has_ended_and_how_far_it_is(tmp_path):
    command = [sys.executable, "-m", "cnnlab.train", "-m", "hydra/launcher=submitit_local", "model=mlp"]
    command += ["trainer.max_epochs=1", "optimizer=sgd", "optimizer.lr=1e30", "trainer.gradient_clip_val=1"]
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    environment = {**os.environ, "TERM": "xterm"}
    sweep = subprocess.run(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=theirs, env=environment, timeout=240)
    shown = os.read(ours, 1 << 16).decode()
    for end_of in (ours, theirs):
        os.close(end_of)
    said = sweep.stdout.decode()
    assert sweep.returncode == 1
    assert "\x1b" not in said
    assert re.search(r"^\[1/1\] baseline s0  failed: FloatingPointError: epoch 1, step", said, re.MULTILINE)
    assert re.findall(r"\x1b\[24;1H\x1b\[2K([^\x1b]*)\x1b8", shown)[0] == "0 of 1 runs"
    assert "\x1b[r\x1b8cnnlab: 1 of 1 runs did not complete" in shown
