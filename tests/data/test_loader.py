from itertools import chain, product

import pytest
import torch

from cnnlab.data.examples import Examples
from cnnlab.data.loader import Batches


def numbered(count):
    """Images whose pixels and labels are their numbers."""
    return Examples(torch.arange(count, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 1, 2, 2), torch.arange(count))


def seen(batches):
    """Labels of every batch, having checked that images go with them."""
    found = list(batches)
    assert len(found) == len(batches)
    for images, labels in found:
        assert torch.equal(images[:, 0, 0, 0].long(), labels)
    return [labels.tolist() for _, labels in found]


@pytest.mark.parametrize("seed", [None, 3])
@pytest.mark.parametrize("world_size", [1, 2, 3])
@pytest.mark.parametrize("count", [24, 31])  # 31: the last batch of 7 divides among neither 2 nor 3
def test_processes_together_see_every_image_once(count, world_size, seed):
    whole = seen(Batches(numbered(count), 8, seed=seed))
    shares = [
        seen(Batches(numbered(count), 8, seed=seed, rank=rank, world_size=world_size)) for rank in range(world_size)
    ]
    assert sorted(chain(*whole)) == list(range(count))
    for step, batch in enumerate(whole):  # the same batches as one process would have, in parts as even as it goes
        parts = [share[step] for share in shares]
        assert list(chain(*parts)) == batch
        assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_order():
    epoch = 0
    batches = Batches(numbered(40), 8, seed=3, epoch=lambda: epoch)
    first = seen(batches)
    torch.manual_seed(9)  # somebody else's random numbers do not matter
    assert seen(batches) == first
    assert seen(Batches(numbered(40), 8, seed=4)) != first
    epoch = 1
    assert seen(batches) != first
    assert seen(Batches(numbered(40), 8)) == [list(range(i, i + 8)) for i in range(0, 40, 8)]


@pytest.mark.parametrize(
    ("count", "world_size", "sizes"),
    [(17, 1, [8, 8]), (18, 1, [8, 8, 2]), (19, 2, [8, 8]), (20, 2, [8, 8, 4]), (16, 1, [8, 8]), (1, 1, [1])],
)
def test_a_last_batch_too_small_for_batch_norm_is_left_out_of_training_only(count, world_size, sizes):
    def total(seed):
        batches = [Batches(numbered(count), 8, seed=seed, rank=r, world_size=world_size) for r in range(world_size)]
        assert sizes == [batches[0].global_size(step) for step in range(len(batches[0]))] or seed is None
        return sum(len(batch) for b in batches for batch in seen(b))

    assert total(seed=0) == sum(sizes)
    assert total(seed=None) == count


def test_augmentation_is_keyed_by_seed_epoch_step_and_rank():
    def drawn(seed, epoch, rank):
        numbers = []

        def augment(images, generator, turn):
            numbers.append(torch.rand(1, generator=generator).item())
            return images

        list(Batches(numbered(24), 8, seed=seed, epoch=lambda: epoch, rank=rank, world_size=2, augment=augment))
        return numbers

    everything = [drawn(*key) for key in product((0, 1), (0, 1), (0, 1))]
    assert [len(numbers) for numbers in everything] == [3] * 8
    assert len(set(chain(*everything))) == 24
    assert everything == [drawn(*key) for key in product((0, 1), (0, 1), (0, 1))]
    assert drawn(None, 0, 0) == []  # nothing is augmented that is not trained on
