"""Copies of the weights over the training."""

import pytest
import torch

import cnnlab
from cnnlab.runs.checkpoints import read
from cnnlab.training.callbacks.snapshots import Snapshots, halved, steps_kept
from cnnlab.training.run import resume

RECIPE = ["callbacks=snapshots", "trainer.max_epochs=2", "data.batch_size=256", "trainer.log_every_n_steps=1"]
STEPS = 12  # of both epochs


def kept(run) -> dict:
    return {int(path.stem[5:]): read(path)["state_dict"] for path in (run.directory / "snapshots").iterdir()}


@pytest.mark.parametrize(("total", "count"), [(1, 2), (1, 20), (2, 3), (12, 20), (330, 20), (100_000, 20), (7, 2)])
def test_steps_lie_ever_farther_apart(total, count):
    steps = sorted(steps_kept(total, count))
    assert len(steps) <= count
    assert (steps[0], steps[-1]) == (0, total)
    ratios = [after / before for before, after in zip(steps[-4:], steps[-3:], strict=False) if before > 50]
    assert all(ratio == pytest.approx(ratios[0], rel=0.05) for ratio in ratios)


def test_what_is_too_large_for_half_precision_stays_finite():
    assert halved(torch.full((2, 2), 1e6)).isfinite().all()
    assert halved(torch.tensor([1e6])).item() == 1e6
    with pytest.raises(ValueError, match="count=1 must be at least 2"):
        Snapshots(1)


@pytest.mark.slow
def test_they_are_the_weights_of_their_steps_and_change_nothing(tmp_path):
    run = cnnlab.fit([*RECIPE, "trainer=cpu", f"output_dir={tmp_path}/with"])
    plain = cnnlab.fit([*RECIPE, "callbacks=none", "trainer=cpu", f"output_dir={tmp_path}/without"])
    found, (one, other) = kept(run), [read(r.directory / "checkpoints/last.ckpt")["state_dict"] for r in (run, plain)]
    assert sorted(found) == sorted(steps_kept(STEPS, 20))
    for name, values in other.items():
        assert torch.equal(one[name], values)
        assert torch.equal(found[STEPS][name], halved(values))
    (filters, *_) = (name for name, values in found[0].items() if values.ndim == 4)
    assert not torch.equal(found[0][filters], found[1][filters])
    sizes = [path.stat().st_size for path in (run.directory / "snapshots").iterdir()]
    assert max(sizes) < 2 * run.metrics["params"] + 20_000


@pytest.mark.slow
def test_a_resumed_run_and_several_processes_keep_the_same(tmp_path):
    whole = kept(cnnlab.fit([*RECIPE, "trainer=cpu", "checkpoint_every=1", f"output_dir={tmp_path}/whole"]))
    stop = "+callbacks.stop={_target_: test_resume.StopAt}"
    from test_resume import StopAt

    StopAt.steps = [7]
    with pytest.raises(RuntimeError, match=r"^stopped$"):
        cnnlab.fit([*RECIPE, "trainer=cpu", "checkpoint_every=1", stop, f"output_dir={tmp_path}/stopped"])
    (directory,) = (tmp_path / "stopped/runs").iterdir()
    resume(directory, [])
    again = kept(cnnlab.Run.load(directory))
    assert whole.keys() == again.keys()
    assert all(torch.equal(whole[step][name], again[step][name]) for step in whole for name in whole[step])
    two = cnnlab.fit([*RECIPE, "trainer=ddp_cpu", f"output_dir={tmp_path}/ddp"])
    assert kept(two).keys() == whole.keys()
    assert not list((two.directory / "snapshots").glob(".*"))
