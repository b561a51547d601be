"""Everything in conf/ composes, builds, and trains a step; what does not fit says so in one line."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from shipped import LARGE, MODELS
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from cnnlab.config.compose import conf_dir
from cnnlab.config.targets import target
from cnnlab.data.augment import augmentation
from cnnlab.data.load import facts
from cnnlab.models.network import Network
from cnnlab.training.optim import decay_groups, schedule
from cnnlab.training.validate import check


def choices(group: str) -> list[str]:
    return sorted(p.stem for p in (conf_dir() / group).glob("*.yaml"))


def needs_files(name: str) -> bool:
    return name in ("image_folder", "sound_folder", "sst2", "text_file", "trec")


@pytest.mark.parametrize("data", [d for d in choices("data") if not needs_files(d)])
@pytest.mark.parametrize("model", MODELS)
def test_every_model_and_data_pair_trains_a_step_or_says_why_not(composed, model, data):
    config = composed(f"model={model}", f"data={data}", *(["model.width=0.25"] if model in LARGE else []))
    shape, classes, _ = facts(config["data"])
    is_trained = model not in LARGE or data == "cifar10"
    try:
        with torch.device("cpu" if is_trained else "meta"):
            network = Network(config["model"], shape, classes, mean=[0.5] * shape[0], std=[0.5] * shape[0])
    except ValueError as error:
        message = str(error)
    else:
        message = ""
    if message:
        assert "\n" not in message
        assert any(layer in message for layer in config["model"]["layers"])
    if message or not is_trained:
        return
    optimizer = target(config["optimizer"], Optimizer)(decay_groups(network))
    images = torch.randint(0, 256, (4, *shape), dtype=torch.uint8)
    loss = F.cross_entropy(network(images), torch.arange(4) % classes)
    loss.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters() if p.requires_grad)
    before = [p.clone() for p in network.parameters()]
    optimizer.step()
    assert any(not torch.equal(a, b) for a, b in zip(before, network.parameters(), strict=True))


@pytest.mark.parametrize("scheduler", choices("scheduler"))
@pytest.mark.parametrize("optimizer", choices("optimizer"))
def test_every_optimizer_and_scheduler_pair_steps(composed, optimizer, scheduler):
    config = composed(f"optimizer={optimizer}", f"scheduler={scheduler}", "scheduler.warmup_epochs=0.5")
    network = Network(config["model"], (1, 28, 28), 10)
    made = target(config["optimizer"], Optimizer)(decay_groups(network))
    moved = schedule(target(config["scheduler"], LRScheduler), made, 2, 3.0)["scheduler"]
    for _ in range(6):
        made.zero_grad()
        network(torch.rand(4, 1, 28, 28)).square().mean().backward()
        made.step()
        moved.step()
    assert all(p.isfinite().all() for p in network.parameters())


@pytest.mark.parametrize("name", choices("augment"))
def test_every_augmentation_keeps_bytes_and_shape(composed, name):
    augment = augmentation(composed(f"augment={name}")["augment"])
    images = torch.randint(0, 256, (8, 3, 32, 32), dtype=torch.uint8)
    out = images if augment is None else augment(images, torch.Generator().manual_seed(0))
    assert (out.shape, out.dtype) == (images.shape, torch.uint8)
    assert (augment is None) == torch.equal(out, images)


@pytest.mark.parametrize("group", ["trainer", "callbacks", "logger"])
def test_every_other_choice_composes(composed, group):
    for name in choices(group):
        assert composed(f"{group}={name}")[group] is not None


@pytest.mark.real_data
@pytest.mark.parametrize("experiment", choices("experiment"))
def test_every_experiment_passes_the_check(composed, experiment, real_data_dir):
    own = ["init_from=null"] if experiment == "transfer_cifar10" else []  # it wants a run of the user's
    check(composed(f"experiment={experiment}", f"data_dir={real_data_dir}", *own))


def test_no_config_holds_a_machine_path():
    for path in Path(conf_dir()).rglob("*.yaml"):
        assert "/home/" not in path.read_text()
