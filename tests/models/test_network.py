import pytest
import torch
from torch import nn

from cnnlab.models.arrangement import arrange, remove_layers
from cnnlab.models.network import Network, Normalise

IMAGE = (1, 28, 28)


@pytest.fixture
def lenet5(composed):
    def model(*overrides: str) -> dict:
        return composed("model=lenet5", *overrides)["model"]

    return model


@pytest.mark.parametrize(("model", "params"), [("lenet5", 61_706), ("mlp", 101_770), ("softmax", 7_850)])
def test_parameter_counts_of_the_lectures(composed, model, params):
    assert Network(composed(f"model={model}")["model"], IMAGE, 10).params == params


def test_alexnet_cifar_has_the_eight_layers(composed):
    network = Network(composed("model=alexnet_cifar")["model"], (3, 32, 32), 10)
    layers = [row.name for row in network.table if row.params]
    assert layers == ["conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7", "fc8"]
    assert network.params == 1_178_666


def test_a_conv_unit_carries_norm_activation_and_dropout_and_keeps_its_name(lenet5):
    network = Network(lenet5("model.norm=batch", "model.dropout=0.3"), IMAGE, 10)
    assert [type(m) for m in network.conv1] == [nn.Conv2d, nn.BatchNorm2d, nn.Tanh]
    # model-wide dropout is for dense layers, and nothing model-wide reaches the classifier
    assert [type(m) for m in network.fc3] == [nn.Flatten, nn.Linear, nn.BatchNorm1d, nn.Tanh, nn.Dropout]
    assert [type(m) for m in network.head] == [nn.Linear]
    assert "conv1.conv.weight" in network.state_dict()


@pytest.mark.parametrize("pattern", ["conv2", "fc*", "*pool*"])
def test_shapes_are_inferred_again_after_a_removal(lenet5, pattern):
    network = Network(lenet5(f"model.remove=['{pattern}']"), IMAGE, 10)
    assert network(torch.rand(2, *IMAGE)).shape == (2, 10)
    assert network.removed


def test_layers_that_survive_a_removal_start_bit_equal(lenet5):
    whole, less = Network(lenet5(), IMAGE, 10), Network(lenet5("model.remove=[fc3]"), IMAGE, 10)
    for name in ("conv1.conv.weight", "conv2.conv.weight", "conv2.conv.bias", "head.classifier.weight"):
        assert torch.equal(whole.state_dict()[name], less.state_dict()[name])
    other_seed = Network(lenet5(), IMAGE, 10, seed=1).state_dict()
    assert not torch.equal(whole.state_dict()["conv1.conv.weight"], other_seed["conv1.conv.weight"])


def test_building_leaves_the_random_state_alone(lenet5):
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    Network(lenet5(), IMAGE, 10)
    assert torch.equal(torch.rand(1), expected)


def test_a_layer_can_be_resized_swapped_widened_and_inserted(lenet5):
    def rows(*overrides: str) -> dict:
        return {row.name: row for row in Network(lenet5(*overrides), IMAGE, 10).table}

    assert rows("model.layers.conv1.channels=12")["conv1"].output_shape == (12, 28, 28)
    assert rows("model.layers.pool1.kind=maxpool")["pool1"].kind == "maxpool"
    assert rows("model.width=0.5")["fc3"].output_shape == (60,)
    assert rows("model.width=0.5")["head"].output_shape == (10,)
    inserted = list(rows("+model.layers.bn1={kind: batchnorm, after: conv1}"))
    assert inserted[:2] == ["conv1", "bn1"]
    assert next(iter(rows("+model.layers.n={kind: batchnorm, after: input}"))) == "n"
    assert "conv2" not in rows("~model.layers.conv2")


def test_width_keeps_groups_dividing(composed):
    model = {
        "layers": {"c": {"kind": "conv", "channels": 8, "kernel_size": 3, "groups": 4}, "h": {"kind": "classifier"}}
    }
    assert Network({**model, "width": 0.7}, (4, 8, 8), 2).table[0].output_shape[0] == 4


@pytest.mark.parametrize(
    ("overrides", "shape", "message"),
    [
        ([], (1, 9, 9), "conv2: 5x5 window on 4x4"),
        (["model.remove=[pool1]"], (1, 5, 5), "pool2: 2x2 window on 1x1 (after removing pool1)"),
        (["model.remove=[conv3]"], IMAGE, 'no layer is called "conv3"; did you mean "conv2"?'),
        (["model.remove=[head]"], IMAGE, "gives the classes and has to stay"),
        (["model.layers.conv1.kind=convv"], IMAGE, 'did you mean "conv"?'),
        (
            ["+model.layers.conv1.chanels=3"],
            IMAGE,
            'conv1: kind conv has no option "chanels"; did you mean "channels"?',
        ),
        (["model.layers.conv1.channels=-1"], IMAGE, "conv1: channels must be a whole number of at least 1, not -1"),
        (["model.layers.conv1.kernel_size=abc"], IMAGE, "conv1: kernel_size must be a whole number"),
        (["model.activation=rellu"], IMAGE, 'conv1: unknown activation "rellu"; did you mean "relu"?'),
        (["model.norm=bach"], IMAGE, 'unknown norm "bach"; did you mean "batch"?'),
        (["model.init=he"], IMAGE, 'unknown init "he"'),
        (["model.width=0"], IMAGE, "model.width must be a number above 0"),
        (["+model.layers.x={kind: dropout, after: conv7}"], IMAGE, 'there is no layer "conv7"'),
        (["+model.layers.forward={kind: dropout}"], IMAGE, 'a layer cannot be called "forward"'),
        (["+model.layers.x=3"], IMAGE, "x: a layer is a mapping with a kind"),
        (["~model.layers.head"], IMAGE, "the network ends in fc4 with 84 values where the data has 10 classes"),
        (["~model.layers.conv1.channels"], IMAGE, "conv1: kind conv needs channels"),
    ],
)
def test_errors_name_the_layer_and_the_remedy(lenet5, overrides, shape, message):
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the message is the test
        Network(lenet5(*overrides), shape, 10)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("+model.layers.pool2.size=2", 'pool2: kind avgpool has no option "size"'),
        ("+model.layers.fc3.dropout=2", "fc3: dropout probability"),
        ("model.layers.pool2.kernel_size=[2,2,2]", "pool2: kernel_size=[2, 2, 2] for 2 axes"),
    ],
)
def test_a_removal_is_not_blamed_for_what_fails_without_it(lenet5, wrong, message):
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the message is the test
        Network(lenet5(wrong, "model.remove=[conv2]"), IMAGE, 10)
    assert str(caught.value).startswith(message)
    assert "removing" not in str(caught.value)


def test_arrange_puts_inserted_layers_behind_their_anchor_in_the_order_written():
    layer = {"kind": "dropout"}
    order = arrange({"a": layer, "b": layer, "x": {**layer, "after": "a"}, "y": {**layer, "after": "a"}})
    assert list(order) == ["a", "x", "y", "b"]


def test_remove_layers_takes_a_single_name_too():
    kept, removed = remove_layers(arrange({"a": {"kind": "conv"}, "b": {"kind": "conv"}}), "a")
    assert (kept, removed) == ({"b": {"kind": "conv", "from": ["input"]}}, ["a"])


@pytest.mark.parametrize("init", ["he_normal", "xavier_uniform", "lecun_normal", "lecun_uniform", "orthogonal"])
def test_init_sets_weights_and_zeroes_biases(lenet5, init):
    network = Network(lenet5(f"model.init={init}"), IMAGE, 10)
    weight = network.fc3.linear.weight
    fan_in, fan_out = weight.shape[1], weight.shape[0]
    expected = {"he": (2 / fan_in), "xavier": 2 / (fan_in + fan_out), "lecun": 1 / fan_in, "orthogonal": 1 / fan_in}
    assert weight.var().item() == pytest.approx(expected[init.split("_")[0]], rel=0.05)
    assert network.fc3.linear.bias.abs().max() == 0


def test_alexnet_takes_no_memory_on_meta(composed):
    with torch.device("meta"):
        network = Network(composed("model=alexnet_cifar", "model.width=64")["model"], (3, 227, 227), 1000)
    assert network.params > 10**9
    assert all(p.is_meta for p in network.parameters())


def test_normalise_takes_bytes_and_floats_and_leaves_them_alone():
    normalise = Normalise([0.5, 0.2, 0.1], [0.5, 0.3, 0.2])
    pictures = torch.randint(0, 256, (2, 3, 4, 4), dtype=torch.uint8)
    before = pictures.clone()
    expected = (pictures / 255 - normalise.mean) / normalise.std
    assert torch.allclose(normalise(pictures), expected, atol=1e-6)
    assert torch.allclose(normalise(pictures / 255), expected, atol=1e-6)
    assert torch.equal(pictures, before)
