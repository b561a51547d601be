"""A run takes the cores that are free, and a resumed one as many threads as before."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cnnlab.device import Moment, cores, free_threads
from cnnlab.trained.run import Run

pytestmark = pytest.mark.slow

BUSY = "while True: pass"
QUICK = ["trainer=cpu", "trainer.max_epochs=1", "model=softmax"]


@pytest.mark.parametrize(
    ("wanted", "cores", "used", "expected"),
    [
        (2, 2, 0.0, 2),
        (2, 2, 0.4, 2),
        (2, 2, 1.0, 1),
        (2, 2, 1.1, 1),
        (2, 2, 2.0, 1),
        (16, 16, 3.0, 16),
        (16, 16, 8.1, 7),
        (8, 16, 9.0, 8),  # two threads to a core, of which torch takes one
        (2, 64, 40.0, 2),  # a quota of two
        (4, 64, 61.5, 2),
        (1, 1, 1.0, 1),
    ],
)
def test_threads_are_what_others_leave(wanted, cores, used, expected):
    now = Moment(12.0, 100.0 + 2 * used + 3.0, 53.0)
    assert free_threads(wanted, cores, Moment(10.0, 100.0, 50.0), now) == expected


@pytest.fixture
def strangers():
    """One for every core, that compute and do nothing else."""
    started = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(cores())]
    time.sleep(0.5)
    yield
    for stranger in started:
        stranger.kill()
        stranger.wait()


def test_a_moment_tells_own_time_from_that_of_others(strangers):
    before = Moment.now()
    deadline = time.process_time() + 0.3
    while time.process_time() < deadline:
        pass
    now = Moment.now()
    assert 0.25 < now.by_this - before.by_this < 0.6
    assert now.by_all - before.by_all - (now.by_this - before.by_this) > 0.3 * (now.clock - before.clock)


def without_openmp() -> dict[str, str]:
    """The environment, in which nobody has set how OpenMP works."""
    return {k: v for k, v in os.environ.items() if not k.startswith(("OMP_", "GOMP_"))}


def trained(folder: Path, *overrides: str, **environment: str) -> tuple[dict, str]:
    command = [sys.executable, "-m", "cnnlab.train", *overrides]
    done = subprocess.run(command, cwd=folder, env=without_openmp() | environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (run,) = folder.glob("outputs/runs/*/run.json")
    return json.loads(run.read_text()), done.stdout


@pytest.mark.skipif(cores() < 2, reason="there is one core")
def test_beside_strangers_a_run_takes_fewer_and_says_so(strangers, tmp_path):
    info, stdout = trained(tmp_path, *QUICK)
    assert info["threads"] < cores()
    assert f"{info['threads']} of {cores()} threads" in stdout


@pytest.mark.skipif(cores() < 2, reason="there is one core")
def test_what_the_user_has_set_stands_and_a_resume_keeps_its_threads(tmp_path, request):
    info, _ = trained(tmp_path, *QUICK, OMP_NUM_THREADS="2")
    assert info["threads"] == 2
    (run,) = tmp_path.glob("outputs/runs/*")
    request.getfixturevalue("strangers")  # beside whom a run of its own would take fewer
    command = [sys.executable, "-m", "cnnlab.train", f"resume={run}", "trainer.max_epochs=2"]
    done = subprocess.run(command, cwd=tmp_path, env=without_openmp(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert Run.load(run).info["threads"] == 2
    assert "not exact" not in done.stdout


@pytest.mark.parametrize(
    ("given", "expected"),
    [({}, "10000"), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "None")],
)
def test_waiting_threads_give_their_cores_away_unless_the_user_says_otherwise(given, expected):
    code = "import os, cnnlab; print(os.environ.get('GOMP_SPINCOUNT'))"
    done = subprocess.run(
        [sys.executable, "-c", code], env=without_openmp() | given, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == expected
