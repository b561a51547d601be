"""Two processes on the CPU do what one does."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import cnnlab
from cnnlab.processes import needs_launch
from cnnlab.runs import Run

# a batch size that two processes do not share evenly at the end: 205 images in batches of 20
XO = ["data=xo", "data.train_size=205", "data.test_size=55", "data.batch_size=20", "model=mlp", "model.dropout=null"]
COMMON = [*XO, "optimizer=sgd", "trainer.max_epochs=2", "precision=64-true", "callbacks=none"]


def test_two_processes_agree_with_one_on_the_same_global_batch(tmp_path):
    runs = [cnnlab.fit([*COMMON, f"trainer={t}", f"output_dir={tmp_path}/{t}"]) for t in ("cpu", "ddp_cpu")]
    one, two = runs
    assert (one.info["world_size"], two.info["world_size"]) == (1, 2)
    assert two.status == "completed"
    states = [torch.load(r.directory / "checkpoints/last.ckpt", weights_only=True)["state_dict"] for r in runs]
    for name, weight in states[0].items():
        assert torch.allclose(weight, states[1][name], rtol=0, atol=1e-10), name
    assert states[0]["network.fc1.linear.weight"].dtype == torch.float64
    for name in ("train/loss", "val/loss", "val/acc", "test/loss", "test/acc"):
        assert one.metrics[name] == pytest.approx(two.metrics[name], abs=1e-6), name
    assert one.info["config_hash"] == two.info["config_hash"]


def test_each_epochs_images_are_seen_once_over_both_processes(tmp_path):
    """The real command, and every rank writes down what it was given."""
    (tmp_path / "spy.py").write_text(
        "import os, torch\n"
        "from lightning.pytorch import Callback\n"
        "class Spy(Callback):\n"
        "    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):\n"
        "        name = f'seen-{trainer.current_epoch}-{trainer.global_rank}-{batch_idx}.pt'\n"
        "        torch.save(batch[0], os.path.join(os.environ['SPY'], name))\n"
    )
    environment = {**os.environ, "SPY": str(tmp_path), "PYTHONPATH": str(tmp_path)}
    overrides = ["trainer=ddp_cpu", "+callbacks.spy._target_=spy.Spy", f"output_dir={tmp_path}", "trainer.max_epochs=2"]
    # digits, because xo has few different images; a small share of them, because the test is about counting
    command = [sys.executable, "-m", "cnnlab.train", "data.val_size=0.85", "model=softmax", *overrides]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    for epoch in (0, 1):
        parts = [torch.load(p) for p in sorted(tmp_path.glob(f"seen-{epoch}-*.pt"))]
        ranks = {p.name.split("-")[2] for p in tmp_path.glob(f"seen-{epoch}-*.pt")}
        assert ranks == {"0", "1"}
        seen = torch.cat(parts).flatten(1)
        assert len(seen) == len(torch.unique(seen, dim=0)) == 216
    (run,) = Path(tmp_path, "runs").iterdir()
    assert "Traceback" not in done.stderr
    assert Run.load(run).metrics["test/acc"] > 0.3


def test_a_process_group_is_wanted_for_several_devices_only(monkeypatch):
    two = {"accelerator": "cpu", "devices": 2}
    assert needs_launch(two)
    assert not needs_launch({"accelerator": "cpu", "devices": 1})
    assert not needs_launch({"accelerator": "cpu", "devices": "auto"})
    monkeypatch.setenv("LOCAL_RANK", "0")  # torchrun has started the processes already
    assert not needs_launch(two)


def test_a_failing_process_group_leaves_its_cause_and_one_line(tmp_path):
    command = [
        *COMMON,
        "trainer=ddp_cpu",
        "optimizer.lr=1e300",
        "trainer.gradient_clip_val=1",
        f"output_dir={tmp_path}",
    ]
    done = subprocess.run([sys.executable, "-m", "cnnlab.train", *command], capture_output=True, text=True, timeout=300)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    (run,) = Path(tmp_path, "runs").iterdir()
    assert Run.load(run).status == "failed"
    assert "gradient norm" in Run.load(run).info["cause"]
