from types import SimpleNamespace

import numpy as np
import pytest
import torch

from cnnlab.data.examples import Examples
from cnnlab.data.load import load
from cnnlab.data.splits import sizes, split, statistics
from cnnlab.training.datamodule import DataModule


def numbered(count):
    return Examples(torch.zeros(count, 1, 2, 2, dtype=torch.uint8), torch.arange(count))


def prepared(config, **options):
    module = DataModule(config, **options)
    module.setup()
    return module


def test_digits(composed):
    module = prepared(composed("data=digits")["data"])
    assert (len(module.train), len(module.val), len(module.test)) == (1293, 144, 360)  # a tenth of 1,437
    assert (*module.facts[:2], len(module.classes)) == ((1, 28, 28), 10, 10)
    for data in (module.train, module.val, module.test):
        assert data.inputs.shape[1:] == module.facts.shape  # 8x8 resized to 28x28
        assert data.inputs.dtype == torch.uint8
    assert (module.mean, module.std) == statistics(module.train)  # not of what is held out
    assert DataModule(composed("data=digits", "data.resize=null")["data"]).facts.shape == (1, 8, 8)


@pytest.mark.real_data
@pytest.mark.parametrize(("name", "sizes"), [("mnist", (55_000, 5000, 10_000)), ("cifar10", (45_000, 5000, 10_000))])
def test_official_data(name, sizes, composed, real_data_dir):
    module = prepared(composed(f"data={name}", f"data_dir={real_data_dir}")["data"])
    assert (len(module.train), len(module.val), len(module.test)) == sizes
    assert module.train.inputs.shape[1:] == module.facts.shape
    for channel in range(module.facts.shape[0]):
        values = module.train.inputs[:, channel].numpy()
        assert module.mean[channel] == pytest.approx(values.mean(dtype=np.float64) / 255, rel=1e-9)
        assert module.std[channel] == pytest.approx(values.std(dtype=np.float64) / 255, rel=1e-9)


@pytest.mark.parametrize(("val_size", "held_out"), [(0.25, 25), (0.999, None), (1, 1), (30, 30), (0.004, None)])
def test_split(val_size, held_out):
    config = {"val_size": val_size, "split_seed": 0}
    if held_out is None:  # rounds to all or none
        with pytest.raises(ValueError, match=f"data.val_size={val_size} of 100"):
            split(numbered(100), config)
        return
    train, val = split(numbered(100), config)
    assert len(val) == held_out
    assert sorted([*train.labels.tolist(), *val.labels.tolist()]) == list(range(100))


@pytest.mark.parametrize("val_size", [0, 100, 5000, -3, -0.5])
def test_a_val_size_that_leaves_nothing(val_size):
    with pytest.raises(ValueError, match="leaves none for training or validation"):
        split(numbered(100), {"val_size": val_size, "split_seed": 0})


def test_the_split_depends_on_split_seed_alone(composed):
    def val(*overrides, seed=0):
        torch.manual_seed(seed)
        return prepared(composed("data=digits", *overrides)["data"], seed=seed).val.inputs

    assert torch.equal(val(seed=0), val(seed=1))
    assert not torch.equal(val(), val("data.split_seed=1"))


def test_statistics_are_numpys():
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (5000, 3, 3, 5), generator=generator, dtype=torch.uint8)
    images[:, 1] //= 3
    images[:, 2] = 77
    mean, std = statistics(Examples(images, torch.zeros(5000)))
    values = images.numpy() / 255
    assert mean == pytest.approx(values.mean((0, 2, 3)), rel=1e-12)
    assert std[:2] == pytest.approx(values.std((0, 2, 3))[:2], rel=1e-12)
    assert std[2] == 1.0  # nothing is divided by zero


def test_only_training_batches_are_shuffled_and_augmented(composed):
    config = composed("data=digits", "data.batch_size=50", "data.eval_batch_size=70")["data"]
    module = prepared(config, augment={"cutout": {"size": 20}}, seed=3)
    sizes = [len(labels) for _, labels in module.train_dataloader()]
    assert sizes == [50] * 25 + [43]
    for batches, data in ((module.val_dataloader(), module.val), (module.test_dataloader(), module.test)):
        images, labels = (torch.cat(parts) for parts in zip(*batches, strict=True))
        assert torch.equal(images, data.inputs)
        assert torch.equal(labels, data.labels)
        assert len(next(iter(batches))[1]) == 70

    def first(augment, seed):
        return next(iter(prepared(config, augment=augment, seed=seed).train_dataloader()))

    plain_images, labels = first(None, 3)
    images, same_labels = next(iter(module.train_dataloader()))
    assert torch.equal(labels, same_labels)  # augmentation changes no order
    changed = images != plain_images
    assert changed.any()
    assert images[changed].max() == 0
    assert not torch.equal(first(None, 4)[1], labels)


def test_a_batch_smaller_than_the_number_of_processes(composed):
    module = prepared(composed("data=digits", "data.batch_size=3")["data"])
    module.trainer = SimpleNamespace(
        current_epoch=0, global_rank=0, world_size=4, strategy=SimpleNamespace(root_device=torch.device("cpu"))
    )
    with pytest.raises(ValueError, match=r"data\.batch_size=3 is over all processes, and there are 4"):
        module.train_dataloader()


def test_images_are_held_once_for_all_runs_of_a_process(composed):
    """Not as loaded beside as split, nor once for each run."""
    config = composed("data=digits")["data"]
    sizes(config)  # as the check of a config asks
    modules = [DataModule({**config, "batch_size": n}) for n in (10, 20)]
    for module in modules:
        module.setup()
    assert modules[0].train.inputs is modules[1].train.inputs
    assert not load.results
