"""Weights that go back to their average."""

from types import SimpleNamespace

import pytest
import torch
from lightning.pytorch import LightningModule

from cnnlab.training.callbacks.lookahead import Lookahead


class OneNumber(LightningModule):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.register_buffer("statistic", torch.zeros(1))


def test_every_second_step_goes_on_from_an_average_that_keeps_more_and_more():
    module, steps = OneNumber(), 8
    lookahead = Lookahead(every=2, decay=0.8)
    lookahead.setup(None, module, "fit")
    seen = []
    for step in range(1, steps + 1):
        module.weight.data += 1  # what the optimizer does
        module.statistic += 1
        trainer = SimpleNamespace(global_step=step, estimated_stepping_batches=steps)
        lookahead.on_train_batch_end(trainer, module, None, None, step - 1)
        assert module.statistic.item() == pytest.approx(module.weight.item())
        seen.append(module.weight.item())
    slow, fast, expected = None, 0.0, []
    for step in range(1, steps + 1):
        fast += 1
        if step % 2 == 0:
            kept = 0.8 * (step / steps) ** 3
            slow = fast if slow is None else kept * slow + (1 - kept) * fast
            fast = slow
        expected.append(fast)
    assert seen == pytest.approx(expected)
    assert seen[-1] < seen[1] + 5  # it does hold back


def test_a_batch_without_a_step_of_the_optimizer_changes_nothing():
    module = OneNumber()
    lookahead = Lookahead(every=2, decay=0.5)
    lookahead.setup(None, module, "fit")
    trainer = SimpleNamespace(global_step=2, estimated_stepping_batches=2)
    lookahead.on_train_batch_end(trainer, module, None, None, 1)
    module.statistic += 1
    lookahead.on_train_batch_end(trainer, module, None, None, 2)
    assert module.statistic.item() == 1


@pytest.mark.parametrize("options", [{"every": 0}, {"decay": 1.0}, {"decay": -0.1}])
def test_what_cannot_be_is_refused(options):
    with pytest.raises(ValueError, match="every="):
        Lookahead(**options)
