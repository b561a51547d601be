import pytest
import torch
import torch.nn.functional as F
from torch import nn

from cnnlab.models.initialisation import SCHEMES
from cnnlab.models.layers import KINDS, layer
from cnnlab.models.network import Network
from cnnlab.models.table import class_layer
from cnnlab.models.units import make_layer

MAPS = (4, 8, 8)
# every kind with options that suit maps of 4x8x8, and the shape that comes out
SHAPES = {
    "conv": ({"channels": 6, "kernel_size": 3, "dilation": 2, "groups": 2, "padding": "same"}, (6, 8, 8)),
    "whiten": ({}, (32, 7, 7)),
    "scale": ({"factor": 0.5}, (4, 8, 8)),
    "local": ({"channels": 6, "kernel_size": 3, "stride": 2, "padding": "same"}, (6, 4, 4)),
    "linear": ({"features": 5}, (5,)),
    "classifier": ({"num_classes": 3}, (3,)),
    "conv_classifier": ({"num_classes": 3}, (3, 8, 8)),
    "maxpool": ({"kernel_size": 3}, (4, 2, 2)),
    "avgpool": ({"kernel_size": 3, "ceil": True}, (4, 3, 3)),
    "lppool": ({"kernel_size": 2}, (4, 4, 4)),
    "adaptive_avgpool": ({}, (4, 1, 1)),
    "adaptive_maxpool": ({"output_size": [3, 2]}, (4, 3, 2)),
    "trainable_pool": ({"kernel_size": 2}, (4, 4, 4)),
    "batchnorm": ({}, MAPS),
    "layernorm": ({}, MAPS),
    "groupnorm": ({"groups": 3}, MAPS),  # 2 is the largest number up to 3 that divides 4
    "instancenorm": ({}, MAPS),
    "lrn": ({}, MAPS),
    "dropout": ({"p": 0.2}, MAPS),
    "channel_dropout": ({}, MAPS),
    "flatten": ({}, (256,)),
    "identity": ({}, MAPS),
    "add": ({}, MAPS),
    "multiply": ({}, MAPS),
    "concat": ({}, (8, 8, 8)),
    "fixed_filter": ({"kernel": "blur", "normalise": True}, MAPS),
    "torchvision": ({"num_classes": 3, "arch": "squeezenet1_1"}, (3,)),
}


@pytest.mark.parametrize("kind", sorted(k for k in KINDS if k != "rbf" and not KINDS[k].reads_words))
def test_every_kind_gives_the_shape_it_should(kind):
    options, expected = SHAPES[kind]
    shape = (256,) if KINDS[kind].dense else (4, 64, 64) if kind == "torchvision" else MAPS
    module = make_layer(kind, shape, options)
    out = module(*[torch.rand(2, *shape) for _ in range(1 + KINDS[kind].merge)])
    assert tuple(out.shape[1:]) == expected
    out.sum().backward() if out.requires_grad else None
    assert all(p.grad is not None for p in module.parameters() if p.requires_grad)


ANY_AXES = ["conv", "local", "conv_classifier", "maxpool", "avgpool", "lppool", "trainable_pool", "adaptive_avgpool",
            "batchnorm", "layernorm", "groupnorm", "instancenorm", "lrn", "dropout", "channel_dropout"]  # fmt: skip


@pytest.mark.parametrize("kind", ANY_AXES)
def test_one_axis_and_three_work_as_well_as_two(kind):
    for shape in ((4, 16), (4, 8, 9, 7)):
        module = make_layer(kind, shape, SHAPES[kind][0])
        assert module(torch.rand(2, *shape)).ndim == 1 + len(shape)


def test_lrn_is_the_papers_formula():
    x = torch.rand(1, 7, 1, 1)
    out = make_layer("lrn", (7, 1, 1), {})(x)
    total = sum(x[0, j, 0, 0] ** 2 for j in range(1, 6))  # map 3 and two neighbours on each side
    assert torch.allclose(out[0, 3, 0, 0], x[0, 3, 0, 0] / (2 + 1e-4 * total) ** 0.75)


def test_a_norm_may_have_options():
    layers = {"conv": {"kind": "conv", "channels": 4, "kernel_size": 3}, "head": {"kind": "classifier"}}
    network = Network({"layers": layers, "norm": {"kind": "batch", "eps": 0.25}}, MAPS, 3)
    assert network.conv.norm.eps == 0.25
    for wrong in ({"kind": "batch", "esp": 1}, {"kind": "batc"}, {"eps": 1}):
        with pytest.raises(ValueError, match=r"^conv: "):
            Network({"layers": layers, "norm": wrong}, MAPS, 3)


def test_a_convolution_may_give_the_classes():
    tail = {"head": {"kind": "conv_classifier"}, "pool": {"kind": "adaptive_avgpool"}, "flat": {"kind": "flatten"}}
    model = {"layers": {"conv": {"kind": "conv", "channels": 6, "kernel_size": 3}, **tail}, "width": 2}
    network = Network(model, MAPS, 3)
    assert [row.output_shape for row in network.table] == [(12, 6, 6), (3, 6, 6), (3, 1, 1), (3,)]
    assert class_layer(network.table) == "head"
    with pytest.raises(ValueError, match="head, which gives the classes and has to stay"):
        Network({**model, "remove": ["head"]}, MAPS, 3)


def test_a_reader_adds_a_kind_in_a_few_lines():
    @layer()
    def shuffle_channels(shape, groups: int = 2) -> nn.Module:
        """Channel shuffle (Zhang et al. 2018)."""
        return nn.ChannelShuffle(groups)

    try:
        layers = {"mix": {"kind": "shuffle_channels", "groups": 2}, "head": {"kind": "classifier"}}
        network = Network({"layers": layers}, MAPS, 3)
        assert network.table[0].output_shape == MAPS
        x = torch.arange(4.0).view(1, 4, 1, 1).expand(1, *MAPS)
        assert network.mix(x)[0, :, 0, 0].tolist() == [0, 2, 1, 3]
    finally:
        del KINDS["shuffle_channels"]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_surviving_layer_starts_bit_equal_after_any_removal(composed, scheme):
    names = ["conv1", "pool1", "conv2", "pool2", "fc3", "fc4"]
    whole = Network(composed("model=lenet5", f"model.init={scheme}")["model"], (1, 28, 28), 10).state_dict()
    for name in names:
        less = Network(
            composed("model=lenet5", f"model.init={scheme}", f"model.remove=[{name}]")["model"], (1, 28, 28), 10
        )
        for key, weight in less.state_dict().items():
            if weight.shape == whole[key].shape:
                assert torch.equal(weight, whole[key]), (name, key)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"kind": "conv", "channels": 3, "kernel_size": 3, "groups": 2}, "divisible by groups"),
        ({"kind": "fixed_filter", "kernel": "blurr"}, 'did you mean "blur"'),
        ({"kind": "fixed_filter", "kernel": [[1, 2], [3, 4]]}, "odd number"),
        ({"kind": "rbf"}, "needs 84 values"),
        ({"kind": "trainable_pool", "kernel_size": 9}, "9x9 window on 8x8"),
        ({"kind": "dropout", "p": 2}, "dropout probability"),
        ({"kind": "adaptive_avgpool", "output_size": 0}, "output_size must be a whole number of at least 1"),
    ],
)
def test_what_a_layer_refuses_names_it(spec, message):
    with pytest.raises(ValueError, match=message) as caught:
        Network({"layers": {"odd": spec, "head": {"kind": "classifier"}}}, MAPS, 3)
    assert str(caught.value).startswith("odd: ")


def test_whitening_makes_patches_white():
    from cnnlab.models.conv_modules import Whiten2d

    smooth = F.avg_pool2d(torch.rand(200, 3, 12, 12, generator=torch.Generator().manual_seed(0)), 3, 1) - 0.5
    layer = Whiten2d(3, 2, eps=0.0)
    layer.fit(smooth)
    answers = layer(smooth).detach().transpose(0, 1).flatten(1).double()
    half = len(answers) // 2
    assert torch.allclose(answers[:half], -answers[half:], atol=1e-4)
    products = answers[:half] @ answers[:half].T / answers.shape[1]
    assert torch.allclose(products, torch.eye(half, dtype=torch.float64), atol=1e-3)


def test_whitening_is_fitted_where_it_stands_and_never_trained():
    layers = {
        "pool": {"kind": "avgpool", "kernel_size": 2},
        "whiten": {"kind": "whiten"},
        "head": {"kind": "classifier"},
    }
    network = Network({"layers": layers}, (3, 8, 8), 2, mean=[0.5] * 3, std=[0.25] * 3)
    images = torch.randint(0, 256, (500, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    network.fit_to(images)
    with torch.no_grad():
        answers = network.whiten(network.pool(network.input(images))).transpose(0, 1).flatten(1)
    assert answers.square().mean(1) == pytest.approx(1, abs=0.02)
    assert not network.whiten.whiten.weight.requires_grad
    assert network.params == 24 + network.head.classifier.weight.numel() + 2
    assert network.training


def test_normalising_a_fixed_filter_keeps_its_sign():
    kernel = [[0, -1, 0], [-1, 2, -1], [0, -1, 0]]  # its sum is -2
    layer = make_layer("fixed_filter", (1, 5, 5), {"kernel": kernel, "normalise": True})
    assert torch.equal(layer.kernel, torch.tensor(kernel) / 2)


@pytest.mark.parametrize("size", [1, 2, 3])
@pytest.mark.parametrize("stride", [1, 2, 3, 5])
def test_lppool_keeps_the_windows_that_torch_keeps(size, stride):
    images = torch.rand(1, 2, 11, 8, dtype=torch.float64)
    options = {"kernel_size": size, "stride": stride, "ceil": True}
    wanted = make_layer("maxpool", (2, 11, 8), options)(images)
    torch.testing.assert_close(
        make_layer("lppool", (2, 11, 8), {**options, "p": 60})(images), wanted, rtol=0.05, atol=0
    )


@pytest.mark.parametrize("p", [1, 1.5, 2, 3, 5])
def test_lppool_is_the_norm_of_each_window_for_every_p(p):
    images = torch.randn(2, 3, 6, 6, dtype=torch.float64)
    windows = F.unfold(images, 2, stride=2).view(2, 3, 4, -1)
    expected = torch.linalg.vector_norm(windows, p, dim=2).view(2, 3, 3, 3)
    pool = make_layer("lppool", (3, 6, 6), {"kernel_size": 2, "p": p})
    torch.testing.assert_close(pool(images), expected)
    rows = make_layer("lppool", (3, 36), {"kernel_size": 4, "p": p})(images.flatten(2))
    torch.testing.assert_close(rows, torch.linalg.vector_norm(images.flatten(2).unfold(2, 4, 4), p, dim=3))


def test_lppool_sums_a_ragged_edge_and_has_a_gradient_where_all_is_zero():
    pool = make_layer("lppool", (1, 3, 3), {"kernel_size": 2, "p": 3, "ceil": True})
    images = torch.zeros(1, 1, 3, 3)
    images[0, 0, 2, 2] = -2.0
    images.requires_grad_()
    pooled = pool(images)
    assert pooled[0, 0, 1, 1].item() == pytest.approx(2.0)
    pooled.sum().backward()
    assert images.grad.isfinite().all()
    assert images.grad[0, 0, 2, 2].item() == pytest.approx(-1.0)


@pytest.mark.parametrize("init", [None, "he_normal"])
def test_layers_start_from_weights_that_are_written_down(init):
    filters, votes = [[[[1.0, -2.0], [0.5, 0.0]]], [[[0.0, 1.0], [1.0, 0.0]]]], [[0.1] * 8, [-0.1] * 8]
    layers = {
        "conv1": {"kind": "conv", "channels": 2, "kernel_size": 2, "weights": filters, "bias": [3, 4]},
        "head": {"kind": "classifier", "weights": votes},
    }
    network = Network({"layers": layers, "init": init, "freeze": ["conv1"]}, (1, 3, 3), 2)
    assert torch.equal(network.conv1.conv.weight, torch.tensor(filters))
    assert torch.equal(network.conv1.conv.bias, torch.tensor([3.0, 4.0]))
    assert torch.equal(network.head.classifier.weight, torch.tensor(votes))
    assert not network.head.classifier.bias.any()
    assert [p.requires_grad for p in network.parameters()] == [False, False, True, True]
    with pytest.raises(ValueError, match="conv1: connections and given weights or bias do not go together"):
        Network({"layers": {**layers, "conv1": {**layers["conv1"], "connections": [[0], [0]]}}}, (1, 3, 3), 2)
    with pytest.raises(ValueError, match="conv1: init=dirac: kind conv has no weights that it could draw"):
        Network({"layers": {**layers, "conv1": {**layers["conv1"], "init": "dirac"}}}, (1, 3, 3), 2)


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"weights": [[1.0, 2.0]]}, r"conv1: weights are 1x2 where the layer has 2x1x2x2"),
        ({"weights": 1.0}, r"conv1: weights are one number where the layer has 2x1x2x2"),
        ({"weights": [[1.0], [1.0, 2.0]]}, r"conv1: weights are nested lists, and in one of them not all are"),
        ({"weights": ["a"]}, r"conv1: weights are nested lists of numbers, and 'a' is none"),
        ({"bias": [1.0]}, r"conv1: bias is 1 where the layer has 2"),
        ({"bias": [True, False]}, r"conv1: bias is nested lists of numbers, and True is none"),
    ],
)
def test_weights_that_do_not_fit_are_refused(wrong, why):
    layers = {"conv1": {"kind": "conv", "channels": 2, "kernel_size": 2, **wrong}, "head": {"kind": "classifier"}}
    with pytest.raises(ValueError, match=why):
        Network({"layers": layers}, (1, 3, 3), 2)
