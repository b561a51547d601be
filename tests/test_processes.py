"""Two processes on the CPU do what one does."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from children import forked

import cnnlab
from cnnlab.distributed.launch import needs_launch
from cnnlab.trained.run import Run

pytestmark = pytest.mark.slow

# a batch size that two processes do not share evenly at the end: 205 images in batches of 20
XO = ["data=xo", "data.train_size=205", "data.test_size=55", "data.batch_size=20"]
GRAPH = ["model=inception_cifar", "model.width=0.125", "model.norm=null", "model.remove=[drop]"]
COMMON = ["optimizer=sgd", "trainer.max_epochs=2", "precision=64-true", "callbacks=none"]


def test_two_processes_agree_with_one_on_the_same_global_batch(tmp_path):
    """In a graph; in chains they do in test_point_runs.py and test_sound_runs.py."""
    runs = [
        cnnlab.fit([*XO, *GRAPH, *COMMON, f"trainer={t}", f"output_dir={tmp_path}/{t}"]) for t in ("cpu", "ddp_cpu")
    ]
    one, two = runs
    assert (one.info["world_size"], two.info["world_size"]) == (1, 2)
    assert two.status == "completed"
    states = [torch.load(r.directory / "checkpoints/last.ckpt", weights_only=True)["state_dict"] for r in runs]
    for name, weight in states[0].items():
        assert torch.allclose(weight, states[1][name], rtol=0, atol=1e-10), name
    assert {weight.dtype for weight in states[0].values() if weight.is_floating_point()} == {torch.float64}
    for name in ("train/loss", "val/loss", "val/acc", "test/loss", "test/acc"):
        assert one.metrics[name] == pytest.approx(two.metrics[name], abs=1e-6), name
    assert one.info["config_hash"] == two.info["config_hash"]


def test_every_parameter_of_a_network_with_auxiliary_classifiers_gets_gradients(tmp_path):
    """Or the processes would wait for them, which DistributedDataParallel refuses."""
    overrides = ["data=xo", "data.train_size=20", "data.test_size=10", "data.batch_size=20"]
    overrides += ["model=torchvision", "model.arch=googlenet"]
    run = cnnlab.fit([*overrides, "trainer=ddp_cpu", "trainer.max_epochs=1", f"output_dir={tmp_path}"])
    assert (run.status, run.info["world_size"]) == ("completed", 2)


def test_a_process_group_is_wanted_for_several_devices_only(monkeypatch):
    two = {"accelerator": "cpu", "devices": 2}
    assert needs_launch(two)
    assert not needs_launch({"accelerator": "cpu", "devices": 1})
    assert not needs_launch({"accelerator": "cpu", "devices": "auto"})
    monkeypatch.setenv("LOCAL_RANK", "0")  # torchrun has started the processes already
    assert not needs_launch(two)


def torchrun(*command: str, cwd: Path) -> list[str]:
    """Standard output of one torchrun with two processes."""
    start = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run([*start, "-m", *command], cwd=cwd, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def slurm(*command: str, cwd: Path) -> list[str]:
    """The same as srun would start it, on this machine."""
    port = 10_000 + os.getpid() % 5_000
    common = {"SLURM_JOB_ID": str(port), "SLURM_JOB_NAME": "study", "SLURM_NTASKS": "2", "SLURM_NTASKS_PER_NODE": "2"}
    common |= {"SLURM_NNODES": "1", "SLURM_NODEID": "0", "SLURM_NODELIST": "localhost"}
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", *command], cwd=cwd, stdout=subprocess.PIPE, text=True,
            env={**os.environ, **common, "SLURM_PROCID": str(rank), "SLURM_LOCALID": str(rank)},
        )
        for rank in range(2)
    ]  # fmt: skip
    outputs = [process.communicate(timeout=200)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    return "".join(outputs).splitlines()


def test_a_sweep_under_torchrun_is_refused(command, monkeypatch, tmp_path):
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "1")
    monkeypatch.setenv("RANK", "0")
    done = command("train", "-m", "seed=0,1")
    assert done.status == 1
    assert "without torchrun" in done.stderr
    assert list(tmp_path.iterdir()) == []


def alone(*command: str, cwd: Path) -> list[str]:
    """As a person starts it."""
    done = forked(command[0].removeprefix("cnnlab."), *command[1:], cwd=cwd)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout.splitlines()


SPIES = """
import os, torch
from lightning.pytorch import Callback

class Seen(Callback):
    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        torch.save(batch[0], f"{os.environ['SPY']}/seen-{trainer.current_epoch}-{trainer.global_rank}-{batch_idx}.pt")

class Maps(Callback):
    def on_train_start(self, trainer, pl_module):
        address = trainer.datamodule.train.inputs.data_ptr()
        for line in open("/proc/self/maps"):
            start, end = (int(n, 16) for n in line.split()[0].split("-"))
            if start <= address < end:
                open(f"{os.environ['SPY']}/{trainer.global_rank}", "w").write(line.split()[-1])
"""
# digits, because xo has few different images; a small share of them, because the test is about counting
SOFTMAX = ["data.val_size=0.85", "model=softmax", "trainer.max_epochs=2", "augment=none"]


@pytest.fixture(scope="module")
def accuracy_of_one(tmp_path_factory):
    """The test accuracy of a run of one process."""
    return cnnlab.fit([*SOFTMAX, "trainer=cpu", f"output_dir={tmp_path_factory.mktemp('one')}"]).metrics["test/acc"]


@pytest.mark.parametrize("launcher", [alone, torchrun, slurm])
def test_processes_make_one_run_see_each_image_once_and_hold_it_once(tmp_path, launcher, monkeypatch, accuracy_of_one):
    """The real command, and every rank writes down what it was given and where it lies."""
    (tmp_path / "spies.py").write_text(SPIES)
    monkeypatch.setenv("SPY", str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])]))
    spies = ["+callbacks.seen._target_=spies.Seen", "+callbacks.maps._target_=spies.Maps"]
    lines = launcher("cnnlab.train", *SOFTMAX, "trainer=ddp_cpu", *spies, cwd=tmp_path)
    assert sum("test/acc" in line for line in lines) == 1
    (directory,) = (tmp_path / "outputs/runs").iterdir()
    run = Run.load(directory)
    assert (run.status, run.info["world_size"]) == ("completed", 2)
    assert run.metrics["test/acc"] == pytest.approx(accuracy_of_one, abs=0.01)
    assert run.metrics["test/acc"] > 0.3
    for epoch in (0, 1):
        paths = sorted(tmp_path.glob(f"seen-{epoch}-*.pt"))
        assert {p.name.split("-")[2] for p in paths} == {"0", "1"}
        seen = torch.cat([torch.load(p) for p in paths]).flatten(1)
        assert len(seen) == len(torch.unique(seen, dim=0)) == 216
    files = [(tmp_path / rank).read_text() for rank in ("0", "1")]
    assert files[0] == files[1]
    assert files[0].endswith("images.pt")
    assert not Path(files[0]).exists()  # it goes with the run
