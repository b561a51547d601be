from types import SimpleNamespace

import pytest
import torch

from cnnlab.data import xo
from cnnlab.training.datamodule import DataModule

TRICKY = {"translation": 1.0, "scaling": 0.25, "rotation": 20.0, "weight": 0.4}


def test_without_distortion_these_are_the_lectures_bitmaps():
    images, labels = xo.draw(6)
    x, o = torch.zeros(9, 9, dtype=torch.uint8), torch.zeros(9, 9, dtype=torch.uint8)
    for i in range(1, 8):
        x[i, i] = x[i, 8 - i] = 255
    for row in range(9):
        for column in range(9):
            if 2.8 <= ((row - 4) ** 2 + (column - 4) ** 2) ** 0.5 <= 3.2:
                o[row, column] = 255
    assert labels.tolist() == [0, 1] * 3
    for image, label in zip(images[:, 0], labels, strict=True):
        assert torch.equal(image, o if label else x)


def test_a_seed_and_a_stream_decide_the_images():
    images, labels = xo.draw(50, 3, seed=1, **TRICKY)
    torch.manual_seed(7)  # somebody else's random numbers do not matter
    again, _ = xo.draw(50, 3, seed=1, **TRICKY)
    assert torch.equal(images, again)
    assert (images.dtype, images.shape, labels.bincount().tolist()) == (torch.uint8, (50, 1, 9, 9), [25, 25])
    assert len(images.flatten(1).unique(dim=0)) == 50  # tricky: no two alike
    for other in (xo.draw(50, 4, seed=1, **TRICKY), xo.draw(50, 3, seed=2, **TRICKY)):
        assert (other[0] != images).flatten(1).any(1).all()


@pytest.mark.parametrize("option", TRICKY)
def test_every_distortion_alone_changes_images(option):
    exact, _ = xo.draw(50)
    images, _ = xo.draw(50, **{option: TRICKY[option]})
    changed = (images != exact).flatten(1).any(1)
    assert changed[::2].any()  # an X
    assert changed[1::2].any() or option == "rotation"  # an O


def test_each_epoch_draws_fresh_images(composed):
    module = DataModule(composed("data=xo_tricky", "data.train_size=40", "data.test_size=20")["data"])
    module.setup()
    assert not torch.equal(module.val.inputs, module.test.inputs)
    # the three attributes that a running trainer would tell
    module.trainer = SimpleNamespace(
        current_epoch=0, global_rank=0, world_size=1, strategy=SimpleNamespace(root_device=torch.device("cpu"))
    )
    batches = module.train_dataloader()

    def epoch(number):
        module.trainer.current_epoch = number
        images = torch.cat([images for images, _ in batches])
        return {bytes(image.flatten().tolist()) for image in images}

    first, second = epoch(0), epoch(1)
    assert (len(first), len(second)) == (40, 40)
    assert epoch(0) == first  # a resumed run sees what it would have seen
    assert not first & second
    held_out = {bytes(i.flatten().tolist()) for i in torch.cat([module.val.inputs, module.test.inputs])}
    assert len(held_out) == 40
    assert len((first | second) & held_out) < 4  # 81 pixels: chance makes a few alike
