"""Layers that read sentences: embedding, one-hot, bag of words."""

import pytest
import torch
from shipped import SENTENCES, usual_input

from cnnlab.models.network import Network
from cnnlab.models.units import make_layer

IDS = torch.tensor([[2, 3, 2, 0], [1, 0, 0, 0]])
HEAD = {"head": {"kind": "classifier"}}


def network(reader: dict, **more) -> Network:
    return Network({"layers": {"read": reader, **more, **HEAD}}, (4,), 3, ("<pad>", "<unk>", "a", "b"))


def test_a_one_hot_layer_gives_each_word_a_map():
    out = make_layer("one_hot", (4,), {"words": 4})(IDS)
    assert out.shape == (2, 4, 4)
    assert out[0].tolist() == [[0, 0, 0, 0], [0, 0, 0, 0], [1, 0, 1, 0], [0, 1, 0, 0]]
    assert out[1].tolist() == [[0, 0, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]


def test_a_bag_of_words_counts_in_any_order():
    read = make_layer("bag_of_words", (4,), {"words": 4})
    assert read(IDS).tolist() == [[0, 0, 2, 1], [0, 1, 0, 0]]
    assert torch.equal(read(IDS.flip(1)), read(IDS))


def test_an_embedding_looks_vectors_up_and_leaves_that_of_padding_at_0():
    own = network({"kind": "embedding", "features": 5})
    table = own.read.embedding.weight
    assert 0 < table.abs().max() <= 0.25
    out = own.read(IDS)
    assert out.shape == (2, 5, 4)
    assert torch.equal(out[0, :, 1], table[3])
    optimizer = torch.optim.AdamW(own.parameters(), lr=0.1, weight_decay=0.1)
    before = table.detach().clone()
    for _ in range(3):
        optimizer.zero_grad()
        own(IDS).square().sum().backward()
        optimizer.step()
    assert not table[0].any()
    assert all(not torch.equal(table[i], before[i]) for i in (1, 2, 3))


def test_a_convolution_of_one_hot_maps_is_a_weight_for_each_word_and_place():
    own = network({"kind": "one_hot"}, conv={"kind": "conv", "channels": 6, "kernel_size": 2, "bias": False})
    weight = own.conv.conv.weight
    assert torch.allclose(own.conv(own.read(IDS))[0, :, 0], weight[:, 2, 0] + weight[:, 3, 1])
    assert [row.receptive_field for row in own.table] == [1, 2, 4]  # in words
    assert own.table[1].macs == 6 * 3 * 2 * 4


def test_initial_vectors_are_decided_by_seed_and_name():
    first, again = (network({"kind": "embedding"}) for _ in range(2))
    assert torch.equal(first.read.embedding.weight, again.read.embedding.weight)


@pytest.mark.parametrize("kind", ["embedding", "one_hot", "bag_of_words"])
def test_what_holds_no_sentences_is_refused(kind):
    for shape, words in (((4,), ()), ((1, 8, 8), ()), ((2, 4), ("<pad>", "<unk>"))):
        with pytest.raises(ValueError, match=r"^read: reads sentences, and these data hold none; take data=trec"):
            Network({"layers": {"read": {"kind": kind}, **HEAD}}, shape, 3, words)


@pytest.mark.parametrize("model", SENTENCES)
def test_the_table_agrees_with_the_built_network(composed, model):
    from torch.utils.flop_counter import FlopCounterMode

    own = Network(composed(f"model={model}")["model"], *usual_input(model)).eval()
    with FlopCounterMode(display=False) as counter:
        for row, (name, _, value) in zip(own.table, own.walk(own.example(2) + 2), strict=True):
            assert (name, tuple(value.shape[1:])) == (row.name, row.output_shape)
    assert counter.get_total_flops() // 4 == own.macs > 0
    assert own.params == sum(p.numel() for p in own.parameters())


def test_windows_of_three_four_and_five_words_stand_side_by_side(composed):
    own = Network(composed("model=sentence_cnn")["model"], *usual_input("sentence_cnn"))
    fields = {row.name: row.receptive_field for row in own.table}
    assert [fields[f"w{size}_conv"] for size in (3, 4, 5)] == [3, 4, 5]
    assert own.shapes["concat"] == (300, 1)
    less = Network(composed("model=sentence_cnn", "model.remove=['w4_*']")["model"], *usual_input("sentence_cnn"))
    assert less.shapes["concat"] == (200, 1)
