"""Windows: zeros that keep a size, what does not fit, filters that are shared, not shared or turned, three axes."""

from math import prod

import pytest
import torch
import torch.nn.functional as F

from cnnlab.models.network import Network
from cnnlab.models.units import make_layer
from cnnlab.packing.stacked import Stacked, structure
from cnnlab.trained.export import write

HEAD = {"head": {"kind": "classifier"}}


def first_row(shape, **spec):
    with torch.device("meta"):
        return Network({"layers": {"first": spec, **HEAD}}, shape, 3).table[0]


@pytest.mark.parametrize("kind", ["conv", "local"])
@pytest.mark.parametrize(
    ("n", "kernel", "stride", "before", "behind"),
    [(28, 5, 2, 1, 2), (7, 3, 2, 1, 1), (8, 3, 2, 0, 1), (10, 5, 3, 2, 2), (9, 2, 1, 0, 1), (8, 2, 3, 0, 0)],
)  # fmt: skip
def test_same_with_a_stride_pads_as_tensorflow_does(kind, n, kernel, stride, before, behind):
    spec = {"channels": 2, "kernel_size": kernel, "stride": stride, "padding": "same"}
    module = make_layer(kind, (1, n), spec)
    x = torch.randn(3, 1, n)
    out = module(x)
    assert out.shape == (3, 2, -(-n // stride))
    plain = make_layer(kind, (1, n + before + behind), {**spec, "padding": 0})
    plain.load_state_dict(module.state_dict())
    torch.testing.assert_close(out, plain(F.pad(x, (before, behind))))
    row = first_row((1, n, n), kind=kind, **spec)
    assert row.output_shape == (2, -(-n // stride), -(-n // stride))
    assert row.receptive_field == min(kernel, n)
    assert not row.note


def test_what_a_value_sees_begins_where_the_zeros_do():
    layers = {"a": {"kind": "conv", "channels": 1, "kernel_size": 5, "stride": 2, "padding": "same"}}
    layers["b"] = {"kind": "conv", "channels": 1, "kernel_size": 3, "dilation": 2, "padding": "same"}
    network = Network({"layers": {**layers, **HEAD}}, (1, 28, 28), 3).double()
    x = torch.rand(1, 1, 28, 28, dtype=torch.float64, requires_grad=True)
    value = network.b(network.a(x))[0, 0, 6, 7]
    (seen,) = torch.autograd.grad(value, x)
    rows, columns = seen[0, 0].nonzero().T
    reach = network.reaches["b"]
    assert [int(rows.min()), int(columns.min())] == [
        f + at * s for f, at, s in zip(reach.first, (6, 7), reach.step, strict=True)
    ]
    assert [int(rows.max() - rows.min()) + 1, int(columns.max() - columns.min()) + 1] == list(reach.size)


@pytest.mark.parametrize("shape", [(3, 17), (3, 11, 8), (2, 5, 6, 7)])
@pytest.mark.parametrize(
    "options",
    [{"kernel_size": 3}, {"kernel_size": 3, "stride": 2, "padding": "same"}, {"kernel_size": 2, "padding": 1}],
)
def test_a_local_layer_with_equal_filters_is_a_convolution(shape, options):
    conv, local = (make_layer(kind, shape, {"channels": 4, **options}) for kind in ("conv", "local"))
    x = torch.randn(2, *shape)
    with torch.no_grad():
        for filters in local.filters():
            filters.copy_(conv.weight)
        local.bias.copy_(conv.bias[:, None].expand(4, len(local.bias) // 4).flatten())
    torch.testing.assert_close(local(x), conv(x), atol=1e-5, rtol=1e-4)
    rows = [first_row(shape, kind=kind, channels=4, **options) for kind in ("conv", "local")]
    assert rows[0].macs == rows[1].macs
    assert rows[0].receptive_field == rows[1].receptive_field
    assert rows[1].params == rows[0].params * prod(rows[1].output_shape[1:])


def test_each_place_of_a_local_layer_is_trained_by_what_it_sees():
    local = make_layer("local", (1, 4), {"channels": 1, "kernel_size": 2, "stride": 2})
    out = local(torch.tensor([[[1.0, 2.0, 3.0, 4.0]]]))
    (5 * out[0, 0, 1]).backward()
    assert local.weight.grad.flatten().tolist() == [0, 0, 15, 20]
    assert local.bias.grad.tolist() == [0, 5]


@pytest.mark.parametrize(
    ("init", "variance"),
    [("he_normal", 2 / 75), ("lecun_uniform", 1 / 75), ("xavier_normal", 2 / (75 + 200)), (None, 1 / 225)],
)
def test_the_filters_of_each_place_are_drawn_as_a_convolutions_are(init, variance):
    layers = {"first": {"kind": "local", "channels": 8, "kernel_size": 5}, **HEAD}
    one, two = (Network({"layers": layers, "init": init}, (3, 20, 20), 3, seed=seed) for seed in (0, 1))
    weight = one.first.local.weight
    assert weight.var().item() == pytest.approx(variance, rel=0.03)
    assert not torch.equal(weight, two.first.local.weight)
    assert not torch.equal(weight[0, 0], weight[0, 1])
    wider = Network(
        {"layers": {"new": {"kind": "identity"}, **layers}, "init": init}, (3, 20, 20), 3
    ).first.local.weight
    assert torch.equal(weight, wider)  # by seed and name alone


def test_orthogonal_and_dirac_filters_of_each_place():
    layers = {"first": {"kind": "local", "channels": 2, "kernel_size": 3, "padding": "same", "bias": False}, **HEAD}
    passes = Network({"layers": layers, "init": "dirac"}, (2, 6, 6), 3).first
    x = torch.rand(1, 2, 6, 6)
    torch.testing.assert_close(passes(x), x)
    filters = Network({"layers": layers, "init": "orthogonal"}, (2, 6, 6), 3).first.local.filters()
    for each in (filters[0], filters[-1]):
        rows = each.flatten(1)
        torch.testing.assert_close(rows @ rows.T, torch.eye(2), atol=1e-5, rtol=0)


def test_without_correlation_the_kernel_is_turned_by_half():
    spec = {
        "channels": 1,
        "kernel_size": 3,
        "bias": False,
        "padding": 1,
        "weights": [[[[1, 2, 3], [4, 5, 6], [7, 8, 9]]]],
    }
    dot = torch.zeros(1, 1, 5, 5)
    dot[0, 0, 2, 2] = 1
    convolved = make_layer("conv", (1, 5, 5), {**spec, "correlate": False})(dot)
    assert convolved[0, 0, 1:4, 1:4].tolist() == spec["weights"][0][0]  # the kernel itself is the answer to a dot
    correlated = make_layer("conv", (1, 5, 5), spec)(dot)
    assert torch.equal(correlated, convolved.flip(2, 3))
    with pytest.raises(ValueError, match="connections and correlate=false"):
        make_layer("conv", (1, 5, 5), {"channels": 1, "kernel_size": 3, "connections": [[0]], "correlate": False})


@pytest.mark.parametrize("kind", ["maxpool", "avgpool", "lppool", "trainable_pool"])
def test_a_pool_that_leaves_a_rest_says_so(kind):
    assert (
        first_row((2, 7, 8), kind=kind, kernel_size=2).note
        == "does not fit: (7 - 2 + 2*0) / 2 + 1 = 3.50; ceil: true keeps the rest"
    )
    assert not first_row((2, 6, 8), kind=kind, kernel_size=2).note
    assert not first_row((2, 7, 8), kind=kind, kernel_size=2, ceil=True).note
    assert not first_row((2, 7, 8), kind="adaptive_avgpool", output_size=3).note
    strict = {"layers": {"pool": {"kind": kind, "kernel_size": 2}, **HEAD}, "strict_sizes": True}
    with pytest.raises(ValueError, match=r"^pool: does not fit: .* = 3\.50; ceil: true keeps the rest$"):
        Network(strict, (2, 7, 8), 3)


VOLUME = {
    "a": {"kind": "conv", "channels": 4, "kernel_size": 3, "stride": 2, "padding": "same", "norm": "batch"},
    "b": {"kind": "maxpool", "kernel_size": 2, "ceil": True},
    "c": {"kind": "conv", "channels": 6, "kernel_size": [1, 2, 2], "norm": "instance"},
    "d": {"kind": "channel_dropout", "p": 0.25},
    "e": {"kind": "trainable_pool", "kernel_size": [1, 2, 2], "stride": 1},
    "f": {"kind": "local", "channels": 3, "kernel_size": [2, 1, 1], "norm": "group"},
    "g": {"kind": "lppool", "kernel_size": [2, 1, 1], "stride": 1},
    "head": {"kind": "classifier"},
}  # fmt: skip


@pytest.mark.slow
def test_three_axes_in_table_packs_and_exports(tmp_path):
    shape = (1, 13, 14, 15)
    networks = [Network({"layers": VOLUME}, shape, 3, mean=[0.4], std=[0.2], seed=seed) for seed in (0, 1)]
    table = {row.name: row for row in networks[0].table}
    assert [table[name].output_shape for name in "abceg"] == [
        (4, 7, 7, 8),
        (4, 4, 4, 4),
        (6, 4, 3, 3),
        (6, 4, 2, 2),
        (3, 2, 2, 2),
    ]
    assert (table["a"].params, table["a"].macs) == (4 * 27 + 4 + 8, 4 * 7 * 7 * 8 * 27)
    assert table["f"].macs == 3 * 3 * 2 * 2 * 6 * 2
    assert [table[name].receptive_field for name in "abc"] == [3, 5, (5, 9, 9)]
    images = torch.randint(0, 256, (4, *shape), dtype=torch.uint8)
    for network in networks:
        network.channels_last().eval()
    assert structure(networks[0]) == structure(networks[1]) is not None
    with torch.no_grad():
        alone = torch.stack([network(images) for network in networks])
        stacked = Stacked(networks, reseed=lambda m: torch.manual_seed(m))
        torch.testing.assert_close(stacked(images), alone, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(stacked(images.expand(2, *images.shape)), alone, atol=1e-5, rtol=1e-4)
    floats = images.float() / 255
    with torch.inference_mode():
        for answer in write(networks[0], floats, tmp_path, "volume").values():
            torch.testing.assert_close(answer(floats[:3]), networks[0](floats[:3]), atol=1e-5, rtol=1e-4)
