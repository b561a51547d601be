"""Everything in conf/ composes, builds, and trains a step; what does not fit says so in one line."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
import yaml
from shipped import LARGE, MODELS, VARIED
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


@pytest.fixture(scope="module")
def sizes(composed):
    """The shapes and classes that data have which need no files; several data may share them."""
    data = [composed(f"data={name}", "model=softmax")["data"] for name in choices("data") if not needs_files(name)]
    return sorted({facts(one)[:2] for one in data}, reverse=True)


@pytest.mark.parametrize("model", MODELS)
def test_every_model_is_built_for_all_data_or_says_why_not_and_trains_a_step(composed, sizes, model):
    config = composed(f"model={model}", *(["model.width=0.25"] if model in LARGE else []))
    fitting, refusals = [], []
    for shape, classes in sizes:
        try:
            with torch.device("meta"):
                Network(config["model"], shape, classes, mean=[0.5] * shape[0], std=[0.5] * shape[0])
        except ValueError as error:
            refusals.append(str(error))
        else:
            fitting.append((shape, classes))
    for message in refusals:
        assert "\n" not in message
        assert any(layer in message for layer in config["model"]["layers"])
    # whether a step can be taken is a matter of the layers, of which some networks have all kinds
    for shape, classes in {fitting[0], fitting[-1]} if fitting and model in VARIED else fitting[:1]:
        step(config, shape, classes)


def step(config, shape, classes):
    """Take a step: all gradients are finite, and weights change."""
    network = Network(config["model"], shape, classes, mean=[0.5] * shape[0], std=[0.5] * shape[0])
    optimizer = target(config["optimizer"], Optimizer)(decay_groups(network))
    images = torch.randint(0, 256, (4, *shape), dtype=torch.uint8)
    loss = F.cross_entropy(network(images), torch.arange(4) % classes)
    loss.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters() if p.requires_grad)
    before = [p.clone() for p in network.parameters()]
    optimizer.step()
    assert any(not torch.equal(a, b) for a, b in zip(before, network.parameters(), strict=True))


def test_the_varied_networks_have_every_kind_of_layer_and_activation_that_ships():
    def parts(model: str) -> set[tuple[str, str]]:
        content = yaml.safe_load((conf_dir() / f"model/{model}.yaml").read_text())
        specs = [content, *content["layers"].values()]
        return {(what, str(spec[what])) for spec in specs for what in ("kind", "activation") if spec.get(what)}

    assert set().union(*map(parts, MODELS)) == set().union(*map(parts, VARIED))


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
