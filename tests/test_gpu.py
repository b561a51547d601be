"""What a GPU does other than a CPU: skipped steps, checks a step later, stacked convolutions. Skipped without one."""

from pathlib import Path

import pytest
import torch
from lightning.pytorch import Callback

import cnnlab
from cnnlab.packing.together import PackedRun, train_together, why_alone
from cnnlab.runs.answers import read_answers
from cnnlab.runs.checkpoints import read
from cnnlab.trained.run import Run
from cnnlab.training.run import train

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU"),
]

QUICK = ("trainer=gpu", "trainer.max_epochs=2", "data.batch_size=64", "augment=none")


def weights(run: Run, name: str = "last") -> dict[str, torch.Tensor]:
    return read(run.directory / f"checkpoints/{name}.ckpt")["state_dict"]


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed", "16-mixed"])
def test_a_run_on_the_gpu_answers_as_it_was_tested(tmp_path, precision):
    run = cnnlab.fit([*QUICK, f"precision={precision}", "trainer.max_epochs=5", f"output_dir={tmp_path}"])
    assert run.info["device"] == "cuda:0"
    assert run.metrics["test/acc"] > 0.85
    for stage, answers in read_answers(run.directory).items():
        assert answers.hits.mean() == pytest.approx(run.metrics[f"{stage}/acc"])
    assert run.evaluate()["test/acc"] == pytest.approx(run.metrics["test/acc"], abs=0.02)  # in full precision


@pytest.mark.parametrize("extra", [[], ["compile=true"]])
def test_a_deterministic_run_gives_the_same_weights_twice(tmp_path, extra):
    request = [*QUICK, *extra, "deterministic=true", "model=resnet20", "data.channels=3"]
    one, two = (cnnlab.fit([*request, f"output_dir={tmp_path / d}"]) for d in "ab")
    for name, value in weights(one).items():
        assert torch.equal(value, weights(two)[name]), name


class Spoil(Callback):
    """Makes a gradient infinite in step 8."""

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if trainer.global_step == 8:
            pl_module.network.conv2.conv.weight.register_hook(lambda gradient: gradient / 0)


@pytest.mark.parametrize("optimizer", ["adam", "muon"])  # one that skips a step by itself, and one that cannot
def test_a_gradient_that_is_not_finite_changes_no_weight_and_is_named(tmp_path, optimizer):
    spoil = "+callbacks.spoil={_target_: test_gpu.Spoil}"
    with pytest.raises(FloatingPointError, match="step 8: a gradient of conv2 is not finite"):
        cnnlab.fit([*QUICK, f"optimizer={optimizer}", spoil, "checkpoint_every=1", f"output_dir={tmp_path}"])
    (directory,) = (tmp_path / "runs").iterdir()
    run = Run.load(directory)
    assert run.status == "failed"
    assert read(directory / "checkpoints/last.ckpt")["global_step"] == 8
    assert all(v.isfinite().all() for v in weights(run).values())


@pytest.mark.parametrize("model", [["model=lenet5"], ["model=resnet20", "data.channels=3"]], ids=["lenet5", "resnet20"])
def test_runs_trained_together_are_those_trained_alone(tmp_path, composed, model):
    configs = [composed(*QUICK, *model, "trainer.max_epochs=1", "study.variant=a", f"seed={s}") for s in (0, 1)]
    assert why_alone(configs[0]) is None
    for seed, config in enumerate(configs):
        train(config, tmp_path / f"alone{seed}")
    outcomes = train_together([PackedRun(c, tmp_path / f"both{s}", []) for s, c in enumerate(configs)])
    assert not [o for o in outcomes if isinstance(o, Exception)]
    for seed in (0, 1):
        alone, both = (Run.load(tmp_path / f"{kind}{seed}") for kind in ("alone", "both"))
        assert both.metrics["train/loss"] == pytest.approx(alone.metrics["train/loss"], rel=0.02)
        assert both.metrics["test/acc"] == pytest.approx(alone.metrics["test/acc"], abs=0.03)


class Stop(Callback):
    """Stops a run in the middle of its second epoch, the first time."""

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        mark = Path(trainer.default_root_dir) / "stopped"
        if trainer.global_step == 25 and not mark.exists():
            mark.touch()
            raise RuntimeError("stopped")


def test_a_resumed_run_has_the_weights_of_one_that_was_not_interrupted(tmp_path, composed):
    request = (*QUICK, "deterministic=true", "checkpoint_every=5", "augment=flip_crop")
    train(composed(*request), tmp_path / "whole")
    cut = composed(*request, "+callbacks.stop={_target_: test_gpu.Stop}")
    with pytest.raises(RuntimeError, match="stopped"):
        train(cut, tmp_path / "cut")
    train(cut, tmp_path / "cut")
    whole, resumed = (weights(Run.load(tmp_path / name)) for name in ("whole", "cut"))
    assert all(torch.equal(value, resumed[name]) for name, value in whole.items())
