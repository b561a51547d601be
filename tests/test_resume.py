"""A run that was stopped goes on as if it had never been."""

import math
import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest
import torch
from children import forked, start
from lightning.pytorch import Callback

import cnnlab
from cnnlab.trained.run import Run
from cnnlab.training.run import resume

pytestmark = pytest.mark.slow

RECIPE = (
    "trainer=cpu", "trainer.max_epochs=2", "trainer.log_every_n_steps=1", "data.batch_size=256", "checkpoint_every=1",
    "augment=digits", "model.dropout=0.5", "model.norm=batch", "scheduler=onecycle", "callbacks=ema",
    "callbacks.ema.decay=0.5",
)  # fmt: skip
STEPS = 6  # of an epoch
TIMES = ("fit_seconds", "train_images_per_second")


class StopAt(Callback):
    """Ends the process's run before a step, once."""

    steps: list[int] = []

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if self.steps and trainer.global_step == self.steps[0]:
            self.steps.pop(0)
            raise RuntimeError("stopped")


def fitted(output: Path, *overrides: str, stops: tuple[int, ...] = ()) -> Run:
    """A run, resumed after every stop."""
    StopAt.steps = list(stops)
    stop = "+callbacks.stop={_target_: test_resume.StopAt}"
    try:
        return cnnlab.fit([*RECIPE, stop, f"output_dir={output}", *overrides])
    except RuntimeError as error:
        assert str(error) == "stopped"  # noqa: PT017
    (directory,) = (output / "runs").iterdir()
    while StopAt.steps:
        with pytest.raises(RuntimeError, match=r"^stopped$"):
            resume(directory, [])
    resume(directory, [])
    return Run.load(directory)


def same(one: object, other: object, where: str = "") -> None:
    """Bit for bit, whatever is nested in it."""
    assert type(one) is type(other), where
    if isinstance(one, torch.Tensor):
        assert torch.equal(one, other), where
    elif isinstance(one, dict):
        assert one.keys() == other.keys(), where
        for key in one:
            same(one[key], other[key], f"{where}.{key}")
    elif isinstance(one, (list, tuple)):
        assert len(one) == len(other), where
        for index, pair in enumerate(zip(one, other, strict=True)):
            same(*pair, f"{where}[{index}]")
    elif not (isinstance(one, float) and math.isnan(one) and math.isnan(other)):
        assert one == other, where


def what_counts(run: Run) -> dict:
    """Everything of a run's last checkpoint that training made, and its metrics."""
    last = torch.load(run.directory / "checkpoints/last.ckpt", weights_only=True)
    best = torch.load(run.directory / "checkpoints/best.ckpt", weights_only=True)
    kept = {k: last[k] for k in ("state_dict", "optimizer_states", "lr_schedulers", "epoch", "global_step")}
    ema = {k: v for k, v in last.items() if "averag" in k or "current_model" in k}
    epochs = [{k: v for k, v in row.items() if "per_second" not in k} for row in last["callbacks"]["History"]["epochs"]]
    metrics = {k: v for k, v in run.metrics.items() if k not in TIMES}
    return {"last": kept, "ema": ema, "best": best["state_dict"], "epochs": epochs, "metrics": metrics}


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    return what_counts(fitted(tmp_path_factory.mktemp("whole")))


@pytest.mark.parametrize("step", range(1, 2 * STEPS))
def test_a_run_stopped_at_any_step_ends_bit_identical(uninterrupted, tmp_path, step):
    same(what_counts(fitted(tmp_path, stops=(step,))), uninterrupted)


def test_so_does_one_stopped_twice_within_an_epoch(uninterrupted, tmp_path):
    same(what_counts(fitted(tmp_path, stops=(STEPS + 1, STEPS + 3))), uninterrupted)


@pytest.mark.parametrize("step", [3, 2 * STEPS - 1])
def test_so_does_one_with_lookahead_stopped_between_its_averages(tmp_path, step):
    lookahead = "+callbacks.lookahead={_target_: cnnlab.training.callbacks.lookahead.Lookahead, every: 2, decay: 0.9}"
    recipe = ("callbacks.ema=null", lookahead)
    same(what_counts(fitted(tmp_path / "stopped", *recipe, stops=(step,))), what_counts(fitted(tmp_path, *recipe)))


def test_so_does_a_graph(tmp_path):
    graph = ("model=resnet20", "model.remove=['s*b3_*']", "model.width=0.125", "model.dropout=0")
    same(what_counts(fitted(tmp_path / "stopped", *graph, stops=(STEPS + 2,))), what_counts(fitted(tmp_path, *graph)))


def test_the_comparison_would_notice(uninterrupted, tmp_path):
    with pytest.raises(AssertionError, match="state_dict"):
        same(what_counts(fitted(tmp_path, "seed=1")), uninterrupted)


def test_a_resume_with_other_threads_says_that_it_is_not_exact(tmp_path, capsys, monkeypatch):
    threads = torch.get_num_threads()
    monkeypatch.setenv("OMP_NUM_THREADS", str(threads))  # or a resume takes those of before
    run = fitted(tmp_path)
    resume(run.directory, ["trainer.max_epochs=3"])
    assert "not exact" not in capsys.readouterr().out
    torch.set_num_threads(threads + 1)
    try:
        resume(run.directory, ["trainer.max_epochs=4"])
    finally:
        torch.set_num_threads(threads)
    assert "resume: not exact, because other than before: threads" in capsys.readouterr().out
    assert run.info["resumed"]["threads"] == threads
    assert run.info["threads"] == threads + 1


KILLS = 9


def patient(output: Path, *extra: str) -> list[str]:
    recipe = [r for r in RECIPE if not r.startswith(("trainer.max_epochs", "data.batch_size"))]
    return [*recipe, "trainer.max_epochs=3", "data.batch_size=128", "hydra.run.dir=" + str(output), *extra]


def test_a_storm_of_kills_changes_nothing(tmp_path):
    """SIGKILL by turns while a checkpoint is being written, after a few more steps, and while the process starts."""
    whole, stormy = tmp_path / "whole", tmp_path / "stormy"
    assert forked("train", *patient(whole), cwd=tmp_path).returncode == 0
    expected = what_counts(Run.load(whole))
    rng = random.Random(0)
    last = stormy / "checkpoints/last.ckpt"
    in_a_save = 0
    for kill in range(KILLS):
        going_on = (stormy / "run.json").is_file()
        started = start("train", *([f"resume={stormy}"] if going_on else patient(stormy)), cwd=tmp_path)
        if kill % 3 == 0:
            wait_until(lambda: list(stormy.glob("checkpoints/.*.part")), started.process)
        elif kill % 3 == 1:
            for _ in range(rng.randint(1, 2)):
                before = written(last)
                wait_until(lambda before=before: written(last) != before, started.process)
        else:
            time.sleep(rng.uniform(0.05, 0.8))
        started.process.kill()
        started.wait()
        in_a_save += bool(list(stormy.glob("checkpoints/.*.part")))
        for path in stormy.glob("checkpoints/*.ckpt"):
            torch.load(path, weights_only=True)
    assert Run.load(stormy).status == "interrupted"
    assert forked("train", f"resume={stormy}", cwd=tmp_path).returncode == 0
    assert in_a_save >= 2
    assert not list(stormy.glob("checkpoints/.*.part"))
    same(what_counts(Run.load(stormy)), expected)


def written(path: Path) -> int:
    """When, in nanoseconds; 0 for a file that is not there."""
    return path.stat().st_mtime_ns if path.is_file() else 0


def wait_until(happened, process) -> None:
    """Look again and again, while a process goes on."""
    while not happened():
        assert process.is_alive(), "it ended first"
        time.sleep(0.0005)


# what SIGTERM does to several processes the test below shows
@pytest.mark.parametrize(
    ("trainer", "number", "status"),
    [("cpu", signal.SIGTERM, 143), ("cpu", signal.SIGINT, 130), ("ddp_cpu", signal.SIGINT, 130)],
)
def test_a_signal_leaves_a_checkpoint_and_no_process(tmp_path, trainer, number, status):
    recipe = [
        f"trainer={trainer}",
        "trainer.max_epochs=300",
        "data.batch_size=64",
        "hydra.run.dir=" + str(tmp_path / "run"),
    ]
    started = start("train", *recipe, cwd=tmp_path)
    last = tmp_path / "run/checkpoints/last.ckpt"
    wait_until(last.is_file, started.process)
    step = torch.load(last, weights_only=True)["global_step"]
    asked = time.time()
    os.kill(started.process.pid, number)
    assert started.wait().returncode == status
    assert time.time() - asked < 30
    assert torch.load(last, weights_only=True)["global_step"] > step
    run = Run.load(tmp_path / "run")
    assert (run.status, run.info["cause"]) == ("interrupted", signal.Signals(number).name)
    time.sleep(0.5)
    assert not workers_in(tmp_path)


def workers_in(folder: Path, module: str = "cnnlab") -> list[int]:
    """Processes of cnnlab, or of one module, that work there."""
    listed = subprocess.run(["pgrep", "-f", module], capture_output=True, text=True).stdout.split()
    return [int(p) for p in listed if Path(f"/proc/{p}").exists() and Path(f"/proc/{p}/cwd").resolve() == folder]


def test_a_signal_to_one_of_two_processes_stops_both_at_the_same_step(tmp_path):
    recipe = [
        "trainer=ddp_cpu",
        "trainer.max_epochs=300",
        "data.batch_size=64",
        "hydra.run.dir=" + str(tmp_path / "run"),
    ]
    started = start("train", *recipe, cwd=tmp_path)
    wait_until((tmp_path / "run/checkpoints/last.ckpt").is_file, started.process)
    members = [
        pid for pid in workers_in(tmp_path) if "cnnlab.distributed.launch" in Path(f"/proc/{pid}/cmdline").read_text()
    ]
    assert len(members) == 3  # the first starts the others
    os.kill(max(members), signal.SIGTERM)
    assert started.wait().returncode == 143
    run = Run.load(tmp_path / "run")
    assert (run.status, run.info["cause"]) == ("interrupted", "SIGTERM")
    time.sleep(0.5)
    assert not workers_in(tmp_path)  # by their folder: what nobody has waited for yet is no process any more
