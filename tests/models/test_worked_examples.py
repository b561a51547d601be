"""The lectures' hand-worked numbers, through cnnlab's own layers."""

import json
from math import isclose
from pathlib import Path

import pytest
import torch
from torch import Tensor

from cnnlab.data import xo
from cnnlab.models.losses import LOSSES
from cnnlab.models.modules import KERNELS
from cnnlab.models.network import Network
from cnnlab.models.units import make_layer

EXAMPLES = json.loads((Path(__file__).parent / "worked_examples.json").read_text())


def image(rows: list) -> Tensor:
    return torch.tensor(rows, dtype=torch.float32)[None, None]


def close(a: Tensor, b: list) -> bool:
    return torch.allclose(a.squeeze(), torch.tensor(b, dtype=torch.float32), atol=1e-4)


def filtered(picture: Tensor, kernel: list, scale: float = 1.0) -> Tensor:
    """A convolution of kind conv whose one filter is given."""
    conv = make_layer("conv", tuple(picture.shape[1:]), {"channels": 1, "kernel_size": len(kernel), "bias": False})
    with torch.no_grad():
        conv.weight.copy_(image(kernel) * scale)
        return conv(picture)


def pooled(picture: Tensor) -> Tensor:
    return make_layer("maxpool", tuple(picture.shape[1:]), {"kernel_size": 2, "ceil": True})(picture)


@pytest.mark.parametrize("name", EXAMPLES["filters"])
def test_x_feature_maps_relu_and_pooling_with_a_ragged_edge(name):
    x = image(EXAMPLES["x_image"])
    feature_map = filtered(x, EXAMPLES["filters"][name], 1 / 9)  # the mean of the products
    assert close(feature_map, EXAMPLES["x_feature_maps"][name])
    once = pooled(feature_map.relu())
    assert close(once, EXAMPLES["x_pooled"][name])
    assert close(pooled(once), EXAMPLES["x_pooled_twice"][name])


def test_the_slides_network_is_a_model_file(composed):
    network = Network(composed("model=xo_slides", "data=xo")["model"], (1, 9, 9), 2)
    pictures = xo.draw(2)[0].float() / 127.5 - 1
    given = {name: values for name, _, values in network.walk(pictures)}
    for i, name in enumerate(EXAMPLES["filters"]):
        assert close(given["mean1"][0, i], EXAMPLES["x_feature_maps"][name])
        assert close(given["pool1"][0, i], EXAMPLES["x_pooled"][name])
        assert close(given["pool2"][0, i], EXAMPLES["x_pooled_twice"][name])
    assert given["flatten"].shape == (2, 12)
    assert close(given["head"], [[1, 5 / 9], [5 / 9, 1]])  # an X looks like an X, an O like an O


def test_data_xo_draws_the_lectures_x():
    picture = xo.draw(1)[0].float() / 127.5 - 1
    assert torch.equal(picture, image(EXAMPLES["x_image"]))


def test_face_detector_pooling_and_flatten():
    feature_map = filtered(image(EXAMPLES["face_image"]), EXAMPLES["face_detector"])
    assert close(feature_map, EXAMPLES["face_feature_map"])
    after = pooled(feature_map)
    assert close(after, EXAMPLES["face_pooled"])
    assert close(make_layer("flatten", (1, 3, 3), {})(after), EXAMPLES["face_flattened"])


def test_curve_filter():
    assert filtered(image(EXAMPLES["curve_patch"]), EXAMPLES["curve_filter"]).item() == EXAMPLES["curve_response"]


def test_image_kernels_are_those_of_the_lectures_and_keep_the_size():
    picture = torch.rand(2, 3, 8, 8)
    for name, kernel in EXAMPLES["kernels"].items():
        assert KERNELS[name] == kernel
        layer = make_layer("fixed_filter", (3, 8, 8), {"kernel": name})
        assert not list(layer.parameters())
        out = layer(picture)
        assert out.shape == picture.shape
        n = len(kernel)
        by_hand = (picture[1, 2, 2 : 2 + n, 1 : 1 + n] * torch.tensor(kernel)).sum()
        assert torch.allclose(out[1, 2, 2 + n // 2, 1 + n // 2], by_hand, atol=1e-5)


def test_losses_of_the_two_networks():
    labels = torch.tensor(EXAMPLES["losses"]["targets"])
    for name in ("nn1", "nn2"):
        expected = EXAMPLES["losses"][name]
        p = torch.tensor(expected["probabilities"])
        assert isclose((p.argmax(1) != labels).float().mean(), expected["classification_error"], abs_tol=1e-4)
        squares = (p - torch.nn.functional.one_hot(labels, 2)).square().sum(1).mean()
        assert isclose(squares, expected["mean_squared_error"], abs_tol=1e-4)
        assert isclose(LOSSES["mse"](p.log(), labels), expected["mean_squared_error"], abs_tol=1e-4)
        # cross-entropy takes logits; the logarithms of probabilities are such
        assert isclose(LOSSES["cross_entropy"](p.log(), labels), expected["cross_entropy"], abs_tol=1e-4)


@pytest.mark.parametrize("case", EXAMPLES["output_sizes"], ids=lambda c: "n{n}f{f}s{s}p{p}".format(**c))
def test_output_sizes(case):
    conv = {"kind": "conv", "channels": 1, "kernel_size": case["f"], "stride": case["s"], "padding": case["p"]}
    model = {"layers": {"conv1": conv, "head": {"kind": "classifier"}}, "strict_sizes": True}
    if case["out"] is None:
        with pytest.raises(ValueError, match=r"conv1: does not fit: \(7 - 3 \+ 2\*0\) / 3 \+ 1 = 2\.33"):
            Network(model, (1, case["n"], case["n"]), 2)
        floored = Network({**model, "strict_sizes": False}, (1, case["n"], case["n"]), 2).table[0]
        assert floored.output_shape == (1, 2, 2)
        assert "2.33" in floored.note
    else:
        assert Network(model, (1, case["n"], case["n"]), 2).table[0].output_shape[1:] == (case["out"],) * 2


def test_parameters_of_the_lectures_arithmetic():
    def conv1(shape, **options):
        layers = {"conv1": {"kind": "conv", **options}, "head": {"kind": "classifier"}}
        with torch.device("meta"):
            return Network({"layers": layers}, shape, 1000).table

    row, _ = conv1((3, 32, 32), channels=10, kernel_size=5, padding=2)
    assert (row.output_shape, row.params) == ((10, 32, 32), 760)
    row, _ = conv1((3, 7, 7), channels=2, kernel_size=3, stride=2)
    assert row.output_shape == (2, 3, 3)
    with torch.device("meta"):
        dense = Network({"layers": {"head": {"kind": "classifier", "bias": False}}}, (3, 256, 256), 1000)
    assert dense.params == 196_608_000


def test_conv_backward_by_hand():
    """dE/dW is the input convolved with dE/dH."""
    picture = torch.rand(1, 1, 3, 3)
    conv = make_layer("conv", (1, 3, 3), {"channels": 1, "kernel_size": 2, "bias": False})
    out = conv(picture)
    upstream = torch.rand_like(out)
    out.backward(upstream)
    by_hand = torch.stack(
        [(picture[0, 0, i : i + 2, j : j + 2] * upstream[0, 0]).sum() for i in range(2) for j in range(2)]
    )
    assert torch.allclose(conv.weight.grad.flatten(), by_hand)
    assert torch.allclose(conv.weight.grad, filtered(picture, upstream[0, 0].tolist()))
