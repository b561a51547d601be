"""Every network of the lectures, exactly; torchvision's as oracle and as whole networks."""

from bisect import bisect_left
from functools import cache

import pytest
import torch
from shipped import CIFAR, DISTINCT, LARGE, MNIST, MODELS, usual_input
from torch import nn

from cnnlab.models.conv_modules import SparseConv2d
from cnnlab.models.modules import DIGITS, RBFOutput, TrainablePool
from cnnlab.models.network import Network
from cnnlab.models.table import Reach

pytestmark = pytest.mark.slow


def built(composed, shape, classes, *overrides, device="meta"):
    with torch.device(device):
        return Network(composed(*overrides)["model"], shape, classes)


@pytest.mark.parametrize(
    ("model", "params"),
    [
        ("softmax", 7_850),
        ("mlp_sigmoid", 185_300),
        ("mlp", 101_770),
        ("mnist_cnn", 3_274_634),
        ("mnist_deep", 345_482),
        ("lenet5", 61_706),
        ("local", 63_906),
        ("lenet5_1998", 60_000),
        ("convnetjs_mnist", 5_994),
        ("alexnet", 60_965_224),
        ("alexnet model.groups=1", 62_378_344),
        ("zfnet", 62_357_608),
        ("alexnet_cifar", 1_178_666),
        ("airbench", 1_972_504),
        ("xo_cnn", 56),
        ("xo_slides", 24),
        ("vgg_cifar", 14_728_266),
        ("resnet20", 272_474),
        ("resnet56", 855_770),
        ("plain20", 269_722),
        ("plain56", 853_018),
        ("densenet40", 1_019_722),
        ("all_cnn", 1_369_738),
        ("inception_cifar", 185_094),
        # the counts that torchvision documents
        ("alexnet_torchvision", 61_100_840),
        ("vgg11", 132_863_336),
        ("vgg11 model.norm=batch", 132_868_840),
        ("vgg16", 138_357_544),
        ("vgg16 model.norm=batch", 138_365_992),
        ("vgg19", 143_667_240),
        ("vgg19 model.norm=batch", 143_678_248),
        ("googlenet", 6_624_904),
        ("squeezenet", 1_235_496),
        ("resnet18", 11_689_512),
        ("resnet34", 21_797_672),
        ("resnet50", 25_557_032),
    ],
)
def test_parameter_counts(composed, model, params):
    name, *overrides = model.split()
    assert built(composed, *usual_input(name), f"model={name}", *overrides).params == params


def test_what_the_ablations_of_the_lectures_drop(composed):
    def alexnet(*overrides):
        return built(composed, *usual_input("alexnet"), "model=alexnet", *overrides)

    params = {row.name: row.params for row in alexnet().table}
    assert params["fc7"] == 16_781_312
    assert params["conv3"] + params["conv4"] == 884_736 + 384 + 663_552 + 384  # of the layers themselves
    without = alexnet("model.remove=[fc7]").params
    assert 60_965_224 - without == 16_781_312
    # removing fc6 and fc7, or conv3 and conv4, changes what comes into the next layer too: the lectures' differences
    whole = 60_965_224
    assert whole - alexnet("model.remove=[fc6,fc7]").params == 49_414_144
    assert whole - alexnet("model.remove=[conv3,conv4]").params == 1_696_512
    less = alexnet("model.groups=1", "model.remove=[conv3,conv4]").params
    assert 62_378_344 - less == 2_507_520


@pytest.mark.parametrize(
    ("model", "block"),
    [("resnet20", "s1b2"), ("resnet50", "s4b3"), ("googlenet", "i4b"), ("squeezenet", "fire3"), ("densenet40", "d2l5"),
     ("vgg16", "conv4")],
)  # fmt: skip
def test_a_glob_takes_a_block(composed, model, block):
    whole = built(composed, *usual_input(model), f"model={model}").table
    less = built(composed, *usual_input(model), f"model={model}", f"model.remove=['{block}_*']").table
    assert [row.name for row in less] == [row.name for row in whole if row.name.rpartition("_")[0] != block]
    assert len(less) < len(whole)


@pytest.mark.parametrize("model", ["all_cnn", "googlenet", "resnet20", "resnet50", "squeezenet", "vgg16"])
def test_the_activation_of_all_units_is_that_of_sums_too(composed, model):
    kinds = {type(module) for module in built(composed, *usual_input(model), f"model={model}").modules()}
    others = {
        type(module)
        for module in built(composed, *usual_input(model), f"model={model}", "model.activation=elu").modules()
    }
    assert others == kinds - {nn.ReLU} | {nn.ELU}


def test_lenet5_1998_layer_by_layer(composed):
    rows = {r.name: r for r in built(composed, *MNIST, "model=lenet5_1998").table}
    assert {n: r.params for n, r in rows.items()} == {
        "C1": 156, "S2": 12, "C3": 1_516, "S4": 32, "C5": 48_120, "F6": 10_164, "output": 0,
    }  # fmt: skip


def test_the_bitmaps_are_ten_different_drawings_of_seven_by_twelve():
    assert len({len(d) for d in DIGITS}) == 1
    assert len(DIGITS[0]) == 84
    assert len(set(DIGITS)) == 10


def test_rbf_is_minus_the_squared_distance():
    rbf, x = RBFOutput(84, 10), torch.rand(5, 84)
    distances = (x[:, None] - rbf.codes).square().sum(-1)
    assert torch.allclose(rbf(x), -distances, atol=1e-4)
    assert rbf(rbf.codes).argmax(1).tolist() == list(range(10))


def test_a_sparse_convolution_is_a_dense_one_with_zeros():
    connections = [[0, 2], [1], [0, 1, 2]]
    sparse = SparseConv2d(3, 3, 3, connections, padding=1)
    dense = torch.nn.Conv2d(3, 3, 3, padding=1)
    with torch.no_grad():
        dense.weight.zero_()
        for weight, target, source in zip(sparse.weight, sparse.targets, sparse.sources, strict=True):
            dense.weight[target, source] = weight
        dense.bias.copy_(sparse.bias)
    x = torch.rand(2, 3, 6, 6)
    assert torch.allclose(sparse(x), dense(x), atol=1e-6)
    with pytest.raises(ValueError, match="2 lists for 3 channels"):
        SparseConv2d(3, 3, 3, connections[:2])


def test_trainable_pool_multiplies_and_adds_for_each_map():
    pool = TrainablePool(2, 2)
    with torch.no_grad():
        pool.coefficient.copy_(torch.tensor([2.0, 1.0]))
        pool.bias.copy_(torch.tensor([0.0, 5.0]))
    out = pool(torch.ones(1, 2, 4, 4))
    assert out[0, :, 0, 0].tolist() == [2.0, 6.0]


@pytest.mark.parametrize("arch", ["resnet18", "vgg11_bn", "squeezenet1_1", "densenet121", "mobilenet_v3_small"])
def test_torchvisions_zoo_fits_classes_channels_and_small_images(composed, arch):
    network = built(composed, (1, 32, 32), 7, "model=torchvision", f"model.arch={arch}", device="cpu")
    assert network(torch.rand(2, 1, 32, 32)).shape == (2, 7)


def test_a_checkpoint_of_an_earlier_version_in_which_the_zoos_network_was_a_child_is_read(composed):
    network = built(composed, *CIFAR, "model=torchvision", "model.arch=squeezenet1_1", device="cpu")
    former = {key.replace("torchvision.", "torchvision.net."): value + 1 for key, value in network.state_dict().items()}
    network.load_state_dict(former)
    assert all(torch.equal(a, b) for a, b in zip(former.values(), network.state_dict().values(), strict=True))


def test_resnet18_for_small_images_is_the_one_everybody_means(composed):
    assert built(composed, *CIFAR, "model=torchvision", "model.arch=resnet18").params == 11_173_962
    with pytest.raises(ValueError, match='did you mean "resnet18"'):
        built(composed, *CIFAR, "model=torchvision", "model.arch=resnet8")


@pytest.mark.parametrize("model", MODELS)
def test_the_table_agrees_with_the_built_module(composed, model):
    """But for multiply-adds, which test_cost.py holds to what torch counts."""
    shape, classes = usual_input(model)
    device = "meta" if model in LARGE else "cpu"
    network = built(composed, shape, classes, f"model={model}", device=device).eval()
    image = torch.rand(1, *shape, device=device)
    with torch.no_grad():
        for row, (name, _, value) in zip(network.table, network.walk(image), strict=True):
            assert (name, tuple(value.shape[1:])) == (row.name, row.output_shape)
            assert sum(p.numel() for p in getattr(network, name).parameters() if p.requires_grad) == row.params


def sees(network: Network, image: torch.Tensor) -> list[int]:
    """Rows of the image that the middle value of each layer depends on, first to last, found by spoiling them."""
    height = image.shape[2]

    @cache
    def reached(first: int, end: int) -> list[bool]:
        """Whether the middle value of each layer is spoilt when these rows are."""
        value = image.clone()
        value[:, :, first:end] = torch.nan
        middles = (v[0, :, v.shape[2] // 2] if v.dim() == 4 else v[0] for _, _, v in network.walk(value))
        return [bool(middle.isnan().any()) for middle in middles]

    def extent(layer: int) -> int:
        ends = range(1, height + 1)
        first = bisect_left(ends, True, key=lambda end: reached(0, end)[layer])
        last = height - 1 - bisect_left(ends, True, key=lambda size: reached(height - size, height)[layer])
        return last - first + 1

    with torch.no_grad():
        return [extent(i) for i in range(len(network))]


# the deepest are left out, whose windows and ways to join layers are those of others: resnet20's, and test_graph.py's
@pytest.mark.parametrize("model", [m for m in DISTINCT if m not in ("densenet40", "resnet18", "resnet50")])
def test_the_receptive_field_is_what_a_value_really_depends_on(composed, model, monkeypatch):
    (channels, size, _), classes = usual_input(model)
    fixed = model in (*LARGE, "xo_slides")  # also where given weights fit one size alone
    if not fixed and any(s["kind"] == "conv" for s in composed(f"model={model}")["model"]["layers"].values()):
        size *= 2  # so that less of what deep layers see is cut off by the border
    size += model == "squeezenet"  # whose first convolution leaves out the last row of 224
    narrow = ["model.width=0.125"] if model in LARGE else []  # what a value sees does not depend on the width
    network = built(composed, (channels, size, size), classes, f"model={model}", *narrow, device="cpu").eval()
    endless = Reach((10**9,) * 2, (0, 0), (1, 1), (1, 1))
    monkeypatch.setattr(Reach, "start", lambda shape: endless)
    uncut = built(composed, (channels, size, size), classes, f"model={model}", *narrow).reaches
    assert [row.receptive_field for row in network.table] == [min(uncut[r.name].size[0], size) for r in network.table]
    seen = []
    for row in network.table:
        reach, middle = uncut[row.name], row.output_shape[1] // 2 if len(row.output_shape) > 1 else 0
        first = reach.first[0] + middle * reach.step[0]
        seen.append(min(first + reach.size[0], size) - max(first, 0))
    assert sees(network, torch.rand(1, channels, size, size)) == seen
