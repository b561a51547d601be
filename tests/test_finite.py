"""Where something stops being finite, all processes stop before the optimizer's step and say which layer and step."""

from pathlib import Path

import pytest
import torch
from children import forked
from lightning.pytorch import Callback
from torch import nn

import cnnlab
from cnnlab.models.network import Network
from cnnlab.trained.run import Run
from cnnlab.training.divergence import TrainStep, find_divergence

pytestmark = pytest.mark.slow

QUICK = ("data.val_size=0.5", "trainer.max_epochs=2", "data.batch_size=120", "checkpoint_every=1", "augment=none")
STEP = 8  # the third of the second epoch


class Spoil(Callback):
    """Makes something infinite in a step, in one process: an image's weight, a gradient, the loss, a metric."""

    def __init__(self, what: str, rank: int = 0) -> None:
        self.what, self.rank = what, rank

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if trainer.global_step != STEP or trainer.global_rank != self.rank:
            return
        network = pl_module.network
        if self.what == "weight":
            network.conv2.conv.weight.data[0] = torch.inf
        elif self.what == "value":
            network.fc3.register_forward_hook(lambda module, args, output: output * torch.nan)
        elif self.what == "gradient":
            network.conv2.conv.weight.register_hook(lambda gradient: gradient / 0)
        elif self.what == "loss":
            pl_module.loss = lambda logits, labels: logits.sum() * 0 + torch.inf

    def on_validation_start(self, trainer, pl_module):
        if self.what == "metric" and trainer.global_step > STEP and trainer.global_rank == self.rank:
            pl_module.network.head.register_forward_hook(lambda module, args, output: output * torch.nan)


SAID = {
    "weight": f"epoch 2, step {STEP}: a weight of conv2 is not finite",
    "value": f"epoch 2, step {STEP}: fc3 gives values that are not finite",
    "gradient": f"epoch 2, step {STEP}: a gradient of conv2 is not finite",
    "loss": f"epoch 2, step {STEP}: the loss is inf",
    "metric": "val/loss is nan after step 12",
}


def finite(run: Run) -> bool:
    names = ("best", "last")
    states = [torch.load(run.directory / f"checkpoints/{n}.ckpt", weights_only=True)["state_dict"] for n in names]
    return all(torch.isfinite(v).all() for state in states for v in state.values())


@pytest.mark.parametrize("what", SAID)
def test_a_run_stops_at_the_step_names_the_layer_and_keeps_finite_checkpoints(tmp_path, what):
    spoil = f"+callbacks.spoil={{_target_: test_finite.Spoil, what: {what}}}"
    with pytest.raises(FloatingPointError) as caught:
        cnnlab.fit([*QUICK, "trainer=cpu", spoil, f"output_dir={tmp_path}"])
    assert SAID[what] in str(caught.value)
    (directory,) = (tmp_path / "runs").iterdir()
    run = Run.load(directory)
    assert run.status == "failed"
    assert SAID[what] in run.info["cause"]
    last = torch.load(directory / "checkpoints/last.ckpt", weights_only=True)
    assert last["global_step"] == (STEP if what != "metric" else 11)  # nothing was learnt from the step
    assert finite(run)


@pytest.mark.parametrize("what", ["weight", "value", "gradient", "loss"])
def test_as_on_a_gpu_the_step_does_nothing_and_the_next_one_says_so(tmp_path, monkeypatch, what):
    monkeypatch.setattr("cnnlab.training.classifier.Classifier.defers", lambda *_: True)
    spoil = f"+callbacks.spoil={{_target_: test_finite.Spoil, what: {what}}}"
    with pytest.raises(FloatingPointError) as caught:
        cnnlab.fit([*QUICK, "trainer=cpu", "optimizer=sgd", spoil, f"output_dir={tmp_path}"])
    assert SAID[what] in str(caught.value)
    (directory,) = (tmp_path / "runs").iterdir()
    last = torch.load(directory / "checkpoints/last.ckpt", weights_only=True)
    assert last["global_step"] == STEP
    assert finite(Run.load(directory))


def test_a_deferred_look_changes_nothing_else(tmp_path, monkeypatch):
    request = [*QUICK, "trainer=cpu", "optimizer=sgd"]
    now = cnnlab.fit([*request, f"output_dir={tmp_path}/now"])
    monkeypatch.setattr("cnnlab.training.classifier.Classifier.defers", lambda *_: True)
    later = cnnlab.fit([*request, f"output_dir={tmp_path}/later", "checkpoint_every=null"])
    ours, theirs = (run.network("last").state_dict() for run in (later, now))
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)


@pytest.mark.parametrize(("what", "said"), [("gradient", "conv2"), ("loss", f"step {STEP}")])
def test_two_processes_stop_together_where_one_meets_it(tmp_path, what, said):
    spoil = f"+callbacks.spoil={{_target_: test_finite.Spoil, what: {what}, rank: 1}}"
    command = ["train", *QUICK, "trainer=ddp_cpu", spoil, f"output_dir={tmp_path}"]
    done = forked(*command, cwd=tmp_path, PYTHONPATH=str(Path(__file__).parent))
    assert done.returncode == 1
    assert said in done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    (directory,) = (tmp_path / "runs").iterdir()
    run = Run.load(directory)
    assert run.status == "failed"
    assert said in run.info["cause"]
    assert torch.load(directory / "checkpoints/last.ckpt", weights_only=True)["global_step"] == STEP
    assert finite(Run.load(directory))


class Chain(nn.Sequential):
    """Layers that are walked through as those of a network are."""

    def walk(self, images):
        for name, layer in self.named_children():
            read, images = images, layer(images)
            yield name, [read], images


def test_large_but_finite_gradients_are_no_reason_to_stop():
    network = Chain()
    network.add_module("fc", nn.Linear(3, 2))
    loss = (network(torch.ones(1, 3)) * 1e30).sum()
    loss.backward()
    assert not torch.isfinite(torch.nn.utils.get_total_norm([p.grad for p in network.parameters()]))
    step = TrainStep(0, 0, torch.ones(1, 3), torch.zeros(1, dtype=torch.long), loss.detach())
    assert find_divergence(network, step, lambda logits, labels: logits.sum() * 1e30) is None


class Root(nn.Module):
    """Has no value below 0, and no gradient at 0."""

    def forward(self, x):
        return x.sqrt()


@pytest.mark.parametrize(("shift", "said"), [(-1.0, "gives values"), (0.0, "gives a gradient")])
def test_a_layer_that_makes_it_by_itself_is_named_and_the_learning_rate_not_blamed(shift, said):
    network = Chain()
    network.add_module("fc1", nn.Linear(3, 2, bias=False))
    network.add_module("root", Root())
    network.add_module("fc2", nn.Linear(2, 2))
    images = torch.full((1, 3), shift)
    network.fc1.weight.data.fill_(1.0)
    loss = network(images).sum()
    loss.backward()
    step = TrainStep(0, 0, images, torch.zeros(1, dtype=torch.long), loss.detach())
    found = find_divergence(network, step, lambda logits, labels: logits.sum())
    assert found.startswith(f"root {said} that ")
    assert "change root, a lower optimizer.lr does not help" in found


@pytest.mark.parametrize("layer", ["i1b_conv5", "i1b_pool", "i1b_concat"])
@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda value: value / 0, "gives values"),
        (lambda value: value + 0 * (value - value.detach()).sqrt(), "gives a gradient"),
    ],
)
def test_in_a_graph_the_branch_is_named(composed, layer, spoil, said):
    """The square root has no gradient at 0."""
    network = Network(composed("model=inception_cifar", "model.width=0.125")["model"], (1, 28, 28), 10)
    network.get_submodule(layer).register_forward_hook(lambda module, args, output: spoil(output))
    images, labels = torch.rand(8, 1, 28, 28), torch.arange(8)
    loss = nn.functional.cross_entropy(network(images), labels)
    loss.backward()
    found = find_divergence(network, TrainStep(0, 0, images, labels, loss.detach()), nn.functional.cross_entropy)
    assert found.startswith(f"{layer} {said} that ")


def test_values_that_grew_too_large_are_a_matter_of_the_learning_rate():
    network = Chain()
    network.add_module("fc1", nn.Linear(3, 2))
    network.add_module("fc2", nn.Linear(2, 2))
    for parameter in network.parameters():
        parameter.data.fill_(1e30)
    images = torch.ones(1, 3)
    step = TrainStep(0, 0, images, torch.zeros(1, dtype=torch.long), network(images).sum().detach())
    assert find_divergence(network, step, lambda logits, labels: logits.sum()).endswith(
        "not finite; lower optimizer.lr"
    )
