"""Networks whose layers read others than the one before: what is written, inserted, removed, repaired."""

import copy
import re
from functools import partial

import pytest
import torch

from cnnlab.models.arrangement import arrange
from cnnlab.models.network import Network

IMAGE = (3, 8, 8)


def conv(channels, **others):
    return {"kind": "conv", "channels": channels, "kernel_size": 3, "padding": 1, **others}


RESIDUAL = {
    "stem": conv(4),
    "b1_conv1": conv(4),
    "b1_conv2": conv(4, activation=None),
    "b1_add": {"kind": "add", "from": ["b1_conv2", "stem"], "activation": "relu"},
    "b2_conv1": conv(6, stride=2),
    "b2_conv2": conv(6, activation=None),
    "b2_proj": {"kind": "conv", "channels": 6, "kernel_size": 1, "stride": 2, "from": "b1_add", "activation": None},
    "b2_add": {"kind": "add", "from": ["b2_conv2", "b2_proj"], "activation": "relu"},
    "b3_conv1": conv(6),
    "b3_conv2": conv(6, activation=None),
    "b3_add": {"kind": "add", "from": ["b3_conv2", "b2_add"], "activation": "relu"},
    "pool": {"kind": "adaptive_avgpool"},
    "head": {"kind": "classifier"},
}
INCEPTION = {
    "stem": conv(4),
    "a_one": {"kind": "conv", "channels": 2, "kernel_size": 1},
    "a_reduce": {"kind": "conv", "channels": 2, "kernel_size": 1, "from": "stem"},
    "a_three": conv(3),
    "a_pool": {"kind": "avgpool", "kernel_size": 3, "stride": 1, "padding": 1, "from": "stem"},
    "a_concat": {"kind": "concat", "from": ["a_one", "a_three", "a_pool"]},
    "head": {"kind": "classifier"},
}
DENSE = {
    "stem": conv(4),
    "d1_conv": conv(2),
    "d1_concat": {"kind": "concat", "from": ["stem", "d1_conv"]},
    "d2_conv": conv(2),
    "d2_concat": {"kind": "concat", "from": ["d1_concat", "d2_conv"]},
    "d3_conv": conv(2),
    "d3_concat": {"kind": "concat", "from": ["stem", "d1_conv", "d2_conv", "d3_conv"]},
    "head": {"kind": "classifier"},
}


def build(layers, **model):
    return Network({"layers": layers, "activation": "relu", "norm": "batch", **model}, IMAGE, 3)


def edges(layers, **model):
    """Of a network what each layer reads, the plain chain left out."""
    table = build(layers, **model).table
    before = ["input", *(row.name for row in table)]
    return {row.name: list(row.sources) for row, one in zip(table, before, strict=False) if row.sources != (one,)}


def names(layers, **model):
    return [row.name for row in build(layers, **model).table]


def test_a_residual_network_computes_what_it_says():
    network = build(RESIDUAL).eval()
    images = torch.rand(5, *IMAGE)
    stem = network.stem(images)
    first = torch.relu(network.b1_conv2(network.b1_conv1(stem)) + stem)
    second = torch.relu(network.b2_conv2(network.b2_conv1(first)) + network.b2_proj(first))
    third = torch.relu(network.b3_conv2(network.b3_conv1(second)) + second)
    assert torch.equal(network(images), network.head(network.pool(third)))
    assert torch.equal({name: value for name, _, value in network.walk(images)}["head"], network(images))


def test_branches_are_put_one_behind_the_other_and_products_scale_maps():
    network = build(INCEPTION).eval()
    images = torch.rand(5, *IMAGE)
    stem = network.stem(images)
    maps = [network.a_one(stem), network.a_three(network.a_reduce(stem)), network.a_pool(stem)]
    assert torch.equal(network(images), network.head(torch.cat(maps, 1)))
    gate = {
        "squeeze": {"kind": "adaptive_avgpool"},
        "gate": {"kind": "conv", "channels": 4, "kernel_size": 1, "activation": "sigmoid"},
        "scaled": {"kind": "multiply", "from": ["stem", "gate"]},
    }
    network = build({"stem": conv(4), **gate, "head": {"kind": "classifier"}}).eval()
    stem = network.stem(images)
    assert torch.equal(network(images), network.head(stem * network.gate(stem.mean((2, 3), keepdim=True))))


@pytest.mark.parametrize("layers", [RESIDUAL, INCEPTION, DENSE], ids=["residual", "inception", "dense"])
def test_every_layer_gets_a_gradient_and_the_table_tells_what_it_reads(layers):
    network = build(layers)
    network(torch.rand(4, *IMAGE)).square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())
    arranged = arrange(layers)
    assert {row.name: list(row.sources) for row in network.table} == {n: spec["from"] for n, spec in arranged.items()}
    assert sum(row.params for row in network.table) == sum(p.numel() for p in network.parameters())


@pytest.mark.parametrize("layers", [RESIDUAL, INCEPTION, DENSE], ids=["residual", "inception", "dense"])
@pytest.mark.parametrize("target", [-2, -3])
def test_the_receptive_field_is_where_gradients_come_from(layers, target):
    network = Network({"layers": layers, "activation": "softplus"}, (3, 31, 31), 3).double().eval()
    name = [row.name for row in network.table if len(row.output_shape) == 3 and row.output_shape[1] > 1][target + 1]
    images = torch.rand(1, 3, 31, 31, dtype=torch.float64, requires_grad=True)
    value = {n: v for n, _, v in network.walk(images)}[name]
    row, column = (n // 2 for n in value.shape[2:])
    (gradient,) = torch.autograd.grad(value[0, :, row, column].sum(), images)
    seen = gradient[0].abs().sum(0) > 0
    reach = network.reaches[name]
    assert (int(seen.any(1).sum()), int(seen.any(0).sum())) == reach.size
    assert int(seen.any(1).nonzero()[0]) == max(0, reach.first[0] + row * reach.step[0])


def test_a_chain_has_no_steps_and_a_graph_forgets_what_nobody_reads():
    chain = build({"a": conv(4), "b": conv(4), "head": {"kind": "classifier"}})
    assert chain._steps is None
    assert {name: done for name, _, done in build(RESIDUAL)._steps}["b1_add"] == ["stem", "b1_conv2"]


# --- removal


@pytest.mark.parametrize(
    ("layers", "remove", "gone", "reading"),
    [
        # a layer: whoever read it reads what it read
        (RESIDUAL, ["b1_conv1"], ["b1_conv1"], {"b1_add": ["b1_conv2", "stem"]}),
        # a body: its shortcut is left; the sum of one is that one
        (RESIDUAL, ["b1_conv*"], ["b1_conv1", "b1_conv2", "b1_add"], {"b2_proj": ["stem"]}),
        (RESIDUAL, ["b1_*"], ["b1_conv1", "b1_conv2", "b1_add"], {"b2_proj": ["stem"]}),
        (RESIDUAL, ["b2_conv*"], ["b2_conv1", "b2_conv2", "b2_add"], {"b3_add": ["b3_conv2", "b2_proj"]}),
        # a projection is a branch of one layer
        (RESIDUAL, ["b2_proj"], ["b2_proj", "b2_add"], {"b3_add": ["b3_conv2", "b2_conv2"]}),
        # a sum: the first that it read, without what then leads nowhere
        (RESIDUAL, ["b2_add"], ["b2_proj", "b2_add"], {"b3_add": ["b3_conv2", "b2_conv2"]}),
        (RESIDUAL, ["b1_add"], ["b1_add"], {"b2_proj": ["b1_conv2"]}),
        # blocks behind each other: the second's shortcut stays, though what it read is gone
        (RESIDUAL, ["b1_conv*", "b1_add"], ["b1_conv1", "b1_conv2", "b1_add"], {"b2_proj": ["stem"]}),
        (RESIDUAL, ["b2_add", "b3_*"], ["b2_proj", "b2_add", "b3_conv1", "b3_conv2", "b3_add"], {"pool": None}),
        (RESIDUAL, ["b?_*"], [n for n in RESIDUAL if n.startswith("b")], {}),
        # a branch removed back to its fork is dropped; half of one is not
        (INCEPTION, ["a_reduce", "a_three"], ["a_reduce", "a_three"], {"a_concat": ["a_one", "a_pool"]}),
        (INCEPTION, ["a_three"], ["a_three"], {"a_concat": ["a_one", "a_reduce", "a_pool"]}),
        (INCEPTION, ["a_one", "a_pool"], ["a_one", "a_pool", "a_concat"], {"a_reduce": None}),
        (INCEPTION, ["a_*"], [n for n in INCEPTION if n.startswith("a")], {}),
        (INCEPTION, ["a_concat"], ["a_reduce", "a_three", "a_pool", "a_concat"], {"head": None}),
        # a layer of a dense block
        (DENSE, ["d1_conv"], ["d1_conv", "d1_concat"], {"d2_concat": ["stem", "d2_conv"]}),
        (DENSE, ["d2_*"], ["d2_conv", "d2_concat"], {"d3_concat": ["stem", "d1_conv", "d1_concat", "d3_conv"]}),
    ],
)  # fmt: skip
def test_removal(layers, remove, gone, reading):
    assert names(layers, remove=remove) == [name for name in layers if name not in gone]
    found = edges(layers, remove=remove)
    assert {name: found.get(name) for name in reading} == reading
    before, after = build(layers).state_dict(), build(layers, remove=remove).state_dict()
    changed = {key.partition(".")[0] for key in after if before[key].shape != after[key].shape}
    assert "stem" not in changed
    assert all(torch.equal(before[key], after[key]) for key in after if key.partition(".")[0] not in changed)


def test_a_block_taken_from_a_trained_network_leaves_its_shortcut():
    network, images = build(RESIDUAL), torch.rand(6, *IMAGE)
    for _ in range(3):
        network(images)  # moves the statistics of the norms
    shorter = build(RESIDUAL, remove=["b3_*"])
    shorter.load_state_dict(network.state_dict(), strict=False)
    network.eval(), shorter.eval()
    values = {name: value for name, _, value in network.walk(images)}
    assert torch.equal(shorter(images), network.head(network.pool(values["b2_add"])))


def test_where_a_sum_no_longer_fits_one_line_names_both_and_the_remedy():
    with pytest.raises(ValueError, match="b3_add: add of b3_conv2, 6x8x8, and b1_add, 4x8x8") as error:
        build(RESIDUAL, remove=["b2_*"])
    assert "remove the block (b3_*) or insert a 1x1 convolution, which model.repair=true does" in str(error.value)
    assert "after removing b2_conv1" in str(error.value)
    with pytest.raises(ValueError, match="b2_add: add of b2_conv2, 6x8x8, and b2_proj, 6x4x4"):
        build(RESIDUAL, remove=["b2_conv1"])
    wide = {**INCEPTION, "a_pool": {**INCEPTION["a_pool"], "stride": 2}}
    with pytest.raises(ValueError, match="a_concat: concat of a_one, 2x8x8, and a_pool, 4x4x4"):
        build(wide)


@pytest.mark.parametrize(
    ("layers", "remove", "inserted"),
    [
        (RESIDUAL, ["b2_*"], {"b3_repair": ("b1_add", (6, 8, 8))}),  # channels
        (RESIDUAL, ["b2_conv1"], {"b2_repair": ("b2_conv2", (6, 4, 4))}),  # size
        (RESIDUAL, ["stem"], {"b1_repair": ("input", (4, 8, 8))}),
        ({**INCEPTION, "a_pool": {**INCEPTION["a_pool"], "stride": 2}}, [],
         {"a_repair": ("a_one", (2, 4, 4)), "a_repair2": ("a_three", (3, 4, 4))}),
    ],
)  # fmt: skip
def test_repair_inserts_projections(layers, remove, inserted):
    network = build(layers, remove=remove, repair=True)
    found = {row.name: (row.sources[0], row.output_shape) for row in network.table if "repair" in row.name}
    assert found == inserted
    for name in inserted:
        (projection,) = (row for row in network.table if row.name == name)
        assert projection.params > 0
        assert any(name in row.sources for row in network.table)
        assert [type(part).__name__ for part in network.get_submodule(name)] == ["Conv2d", "BatchNorm2d"]
    network(torch.rand(2, *IMAGE)).sum().backward()
    assert build(layers, remove=remove, repair=True, width=2).table[0].output_shape[0] in (8, 6)


def test_repair_changes_nothing_where_all_fits():
    assert names(RESIDUAL, repair=True) == list(RESIDUAL)
    with pytest.raises(ValueError, match="cannot be made to fit"):
        build({"a": {"kind": "linear", "features": 3}, "b": conv(4, **{"from": "input"}),
               "add": {"kind": "add", "from": ["a", "b"]}, "head": {"kind": "classifier"}}, repair=True)  # fmt: skip


# --- insertion


def test_an_insertion_stands_behind_a_layer_for_all_who_read_it_or_on_one_path():
    norm = {"kind": "batchnorm", "after": "stem"}
    assert edges({**RESIDUAL, "n": norm})["b1_add"] == ["b1_conv2", "n"]
    one = {**RESIDUAL, "n": {**norm, "from": "stem"}}
    assert names(one)[:3] == ["stem", "n", "b1_conv1"]
    assert edges(one)["b1_add"] == ["b1_conv2", "stem"]
    shortcut = {**RESIDUAL, "n": {**norm, "after": "b1_conv2", "from": "stem"}}
    shortcut["b1_add"] = {**RESIDUAL["b1_add"], "from": ["b1_conv2", "n"]}
    assert edges(shortcut)["n"] == ["stem"]
    assert edges(shortcut)["b1_add"] == ["b1_conv2", "n"]
    assert edges({**RESIDUAL, "n": {**norm, "after": "b1_conv2"}})["b1_add"] == ["n", "stem"]
    assert edges({**INCEPTION, "n": {**norm, "after": "input"}})["a_reduce"] == ["stem"]


# --- what is refused

add = partial(dict, kind="add")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"b1_conv2": conv(4, **{"from": "stme"})}, 'b1_conv2: there is no layer "stme" to read; did you mean "stem"?'),
        ({"b1_conv2": conv(4, **{"from": "b2_add"})}, "b1_conv2 reads b2_add, which comes later"),
        ({"b1_conv2": conv(4, **{"from": "b1_conv2"})}, "b1_conv2 reads itself"),
        ({"b1_conv2": conv(4, **{"from": ["stem", "b1_conv1"]})}, "b1_conv2: conv reads one layer, not 2"),
        ({"b1_conv2": conv(4, **{"from": []})}, "b1_conv2: conv reads one layer, not 0"),
        ({"b1_conv2": None}, "b1_add reads b1_conv2, which is null; model.remove="),
        ({"b1_add": add()}, "b1_add: add reads two or more layers"),
        ({"b1_add": add(**{"from": ["stem", "stem"]})}, "b1_add: add reads two or more layers"),
        ({"b1_add": add(**{"from": ["b1_conv2", 7]})}, "b1_add: from is the name of a layer, or a list of names"),
        ({"b1_add": add(**{"from": {"a": 1}})}, "b1_add: from is the name of a layer, or a list of names"),
        ({"side": conv(4, after="b3_add", **{"from": "stem"})}, "no layer reads b3_add; a network has one output"),
        ({"side": conv(4, after="b1_add", **{"from": "stem"}), "b2_conv1": conv(6, stride=2, **{"from": "b1_add"})},
         "no layer reads side; a network has one output"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_refused_in_one_line(changes, message):
    with pytest.raises(ValueError, match=re.escape(message)) as error:
        build({**RESIDUAL, **changes})
    assert "\n" not in str(error.value)


def test_a_network_survives_being_copied_and_scripted_for_export():
    network, images = build(RESIDUAL).eval(), torch.rand(2, *IMAGE)
    assert torch.equal(copy.deepcopy(network)(images), network(images))
    program = torch.export.export(network, (images,))
    torch.testing.assert_close(program.module()(images), network(images))
