"""Outputs and gradients of every layer kind against float64, each in a process of its own that may crash or hang."""

import os
from typing import Any

import pytest
import torch
from children import in_a_child
from torch import Tensor, nn

from cnnlab.models.conv_modules import Conv1d, Conv2d
from cnnlab.models.network import Network
from cnnlab.models.units import make_layer
from cnnlab.packing.stacked import Stacked

pytestmark = pytest.mark.slow

POINTWISE = {"channels": 8, "kernel_size": 1, "stride": 2}  # docs/torch-strided-1x1-convolution.md
DILATED = {"channels": 4, "kernel_size": 3, "padding": 2, "dilation": 2}
LAYERS = {
    "1x1, 1 channel": ("conv", POINTWISE, (1, 28, 28)),
    "1x1, 3 channels": ("conv", POINTWISE, (3, 32, 32)),
    "1x1, 4 channels": ("conv", POINTWISE, (4, 128, 128)),
    "1x1, 8 channels": ("conv", POINTWISE, (8, 128, 128)),
    "1x1, 15 channels": ("conv", POINTWISE, (15, 128, 128)),
    "1x1, 16 channels": ("conv", POINTWISE, (16, 128, 128)),
    "1x1, stride 3 and 1": ("conv", {**POINTWISE, "stride": [3, 1]}, (4, 96, 128)),
    "1x1, valid": ("conv", {**POINTWISE, "padding": "valid"}, (4, 128, 128)),
    "1x1, a rest": ("conv", POINTWISE, (4, 127, 127)),
    "1x1, padded": ("conv", {**POINTWISE, "padding": 1}, (4, 128, 128)),
    "1x1, grouped": ("conv", {**POINTWISE, "groups": 2}, (4, 128, 128)),
    "1x1, connections": ("conv", {**POINTWISE, "channels": 3, "connections": [[0], [1, 3], [2]]}, (4, 128, 128)),
    "1x3": ("conv", {**POINTWISE, "kernel_size": [1, 3]}, (4, 64, 64)),
    "3x3": ("conv", {**POINTWISE, "kernel_size": 3, "padding": 1}, (3, 64, 64)),
    "5x5": ("conv", {"channels": 6, "kernel_size": 5}, (3, 64, 64)),
    "depthwise": ("conv", {"channels": 8, "kernel_size": 3, "padding": 1, "groups": 8}, (8, 64, 64)),
    "one axis": ("conv", POINTWISE, (4, 8192)),
    "dilated": ("conv", DILATED, (2, 64, 64)),
    "dilated, grouped": ("conv", {**DILATED, "groups": 2}, (2, 64, 64)),
    "dilated, 17 channels": ("conv", DILATED, (17, 64, 64)),
    "dilated, 32 channels": ("conv", DILATED, (32, 64, 64)),
    "dilated, depthwise": ("conv", {**DILATED, "channels": 8, "groups": 8}, (8, 64, 64)),
    "dilated, 1x1": ("conv", {"channels": 8, "kernel_size": 1, "dilation": 2, "groups": 2}, (4, 64, 64)),
    "same, strided": ("conv", {"channels": 6, "kernel_size": 5, "stride": 2, "padding": "same"}, (3, 64, 64)),
    "turned": ("conv", {"channels": 6, "kernel_size": 3, "padding": 1, "correlate": False}, (3, 32, 32)),
    "local": ("local", {"channels": 4, "kernel_size": 5, "stride": 2, "padding": "same"}, (3, 28, 28)),
    "three axes": ("conv", {"channels": 6, "kernel_size": 3, "padding": 1}, (3, 12, 14, 10)),
    "three axes, 1x1x1": ("conv", POINTWISE, (4, 16, 16, 16)),
    "three axes, dilated": ("conv", DILATED, (3, 12, 12, 12)),
    "three axes, maxpool": ("maxpool", {"kernel_size": 3, "stride": 2, "padding": 1, "ceil": True}, (4, 10, 10, 10)),
    "whiten": ("whiten", {}, (3, 32, 32)),
    "fixed filter": ("fixed_filter", {"kernel": "emboss"}, (3, 32, 32)),
    "maxpool": ("maxpool", {"kernel_size": 3, "stride": 2, "padding": 1, "ceil": True}, (6, 28, 28)),
    "maxpool, sparse": ("maxpool", {"kernel_size": 1, "stride": 2}, (6, 28, 28)),
    "avgpool": ("avgpool", {"kernel_size": 3, "stride": 2, "padding": 1, "ceil": True}, (6, 28, 28)),
    "avgpool, sparse": ("avgpool", {"kernel_size": 2, "stride": 5}, (6, 28, 28)),
    "lppool": ("lppool", {"kernel_size": 3, "ceil": True}, (6, 28, 28)),
    "trainable_pool": ("trainable_pool", {"kernel_size": 2}, (6, 28, 28)),
    "adaptive_avgpool": ("adaptive_avgpool", {"output_size": [3, 2]}, (6, 28, 28)),
    "adaptive_maxpool": ("adaptive_maxpool", {"output_size": [3, 2]}, (6, 28, 28)),
    "batchnorm": ("batchnorm", {}, (6, 28, 28)),
    "layernorm": ("layernorm", {}, (6, 28, 28)),
    "groupnorm": ("groupnorm", {"groups": 2}, (6, 28, 28)),
    "instancenorm": ("instancenorm", {}, (6, 28, 28)),
    "lrn": ("lrn", {}, (6, 28, 28)),
}
FORMATS = {"channels_last": torch.channels_last, "contiguous": torch.contiguous_format}


def largest_error(module: nn.Module, exact: nn.Module, x: Tensor, low: bool) -> float:
    """The largest difference of output and gradients from float64, each relative to its largest value."""
    exact = exact.double()
    exact.load_state_dict(module.state_dict())
    reference = x.detach().double().contiguous().requires_grad_()
    x = x.detach().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16, enabled=low):
        out = module(x)
    wanted = exact(reference)
    upstream = torch.randn(wanted.shape)
    out.backward(upstream.to(out.dtype))
    wanted.backward(upstream.double())
    pairs = [(out, wanted), (x.grad, reference.grad)]
    pairs += [(p.grad, q.grad) for p, q in zip(module.parameters(), exact.parameters(), strict=True) if p.requires_grad]
    return max(float((a - b).detach().abs().max() / b.detach().abs().max()) for a, b in pairs)


def layer_errors(name: str, isa: str | None = None) -> dict[tuple[str, bool], float]:
    """The largest error of a layer of LAYERS for each memory format, in float32 and in bfloat16.

    `isa` limits the instructions that oneDNN may use, in channels_last and float32 alone.
    """
    if isa:
        os.environ["ONEDNN_MAX_CPU_ISA"] = isa
    kind, options, shape = LAYERS[name]
    formats = FORMATS if len(shape) == 3 and not isa else ["channels_last"]  # others than pictures have one format
    errors = {}
    for memory_format in formats:
        for low in (False,) if isa else (False, True):
            module, exact = (make_layer(kind, shape, options) for _ in range(2))
            x = torch.randn(8, *shape)
            if x.ndim == 4:
                x = x.to(memory_format=FORMATS[memory_format], copy=True)
                module = module.to(memory_format=FORMATS[memory_format])
            errors[memory_format, low] = largest_error(module, exact, x, low)
    return errors


@pytest.mark.parametrize("name", LAYERS)
def test_outputs_and_gradients_are_those_of_float64(name):
    errors = in_a_child(layer_errors, name)
    assert len(errors) == (4 if len(LAYERS[name][2]) == 3 else 2)
    assert all(error < (0.05 if low else 2e-3) for (_, low), error in errors.items()), errors


def errors_on_older_processors() -> dict[str, float]:
    """Of every 1x1 convolution."""
    return {name: max(layer_errors(name, "AVX2").values()) for name in LAYERS if name.startswith("1x1")}


def test_gradients_are_right_on_older_processors():
    errors = in_a_child(errors_on_older_processors)
    assert len(errors) == 12
    assert all(error < 2e-3 for error in errors.values()), errors


def lenet5_error(model: dict[str, Any], isa: str | None) -> float:
    """The largest error of LeNet-5 as cnnlab trains it: normalised in channels_last."""
    if isa:
        os.environ["ONEDNN_MAX_CPU_ISA"] = isa
    network, exact = (Network(model, (1, 28, 28), 10, mean=[0.1307], std=[0.3081]) for _ in range(2))
    images = torch.randint(0, 256, (32, 1, 28, 28), dtype=torch.uint8)
    floats = network.input(images)
    for each in (network, exact):
        each.input = nn.Identity()
    return largest_error(network.to(memory_format=torch.channels_last), exact, floats, low=False)


@pytest.mark.parametrize("isa", [None, "AVX2"])
def test_lenet5_with_a_strided_1x1_convolution_has_right_gradients(composed, isa):
    model = composed(
        "model=lenet5",
        "model.layers.conv1.kernel_size=1",
        "+model.layers.conv1.stride=2",
        "model.layers.conv1.padding=0",
    )["model"]
    assert in_a_child(lenet5_error, model, isa) < 2e-3


def transposed_error() -> float:
    """The error of a 1-D convolution whose input has one channel, last in memory."""
    module, exact = (Conv1d(1, 16, 1, 2) for _ in range(2))
    return largest_error(module, exact, torch.randn(8, 65536, 1).transpose(1, 2), low=False)


def test_one_axis_with_channels_last_in_memory():
    assert in_a_child(transposed_error) < 2e-3


def test_the_table_of_a_strided_1x1_convolution_is_as_ever():
    layers = {"conv": {"kind": "conv", **POINTWISE}, "head": {"kind": "classifier"}}
    row = Network({"layers": layers}, (3, 28, 28), 10).table[0]
    assert (row.output_shape, row.params, row.macs, row.receptive_field) == ((8, 14, 14), 32, 14 * 14 * 3 * 8, 1)
    assert row.note == "does not fit: (28 - 1 + 2*0) / 2 + 1 = 14.50"


@pytest.mark.parametrize("options", [POINTWISE, {**DILATED, "groups": 2}])
def test_stacked_networks_compute_what_each_does_alone(options):
    layers = {"conv": {"kind": "conv", **options}, "head": {"kind": "classifier"}}
    networks = [Network({"layers": layers}, (4, 16, 16), 3, mean=[0.5] * 4, std=[0.5] * 4, seed=m) for m in range(2)]
    images = torch.rand(5, 4, 16, 16)
    alone = torch.stack([network(images) for network in networks])
    gradients = torch.autograd.grad(alone.sum(), [network.conv.conv.weight for network in networks])
    stacked = Stacked(networks, reseed=lambda m: None)
    together = stacked(images)
    together.sum().backward()
    assert torch.allclose(together, alone, atol=1e-6)
    assert torch.allclose(stacked.parameters["conv.conv.weight"].grad, torch.stack(gradients), rtol=1e-4, atol=1e-5)


def test_other_convolutions_are_torchs_own():
    for options in ({"kernel_size": 3, "stride": 2}, {"kernel_size": [1, 1]}, {"kernel_size": [1, 3], "stride": 2}):
        assert type(make_layer("conv", (4, 8, 8), {"channels": 2, **options})) is nn.Conv2d
    risky = make_layer("conv", (4, 8, 8), {"channels": 2, "kernel_size": [1, 1], "stride": [1, 2]})
    assert type(risky) is Conv2d
    plain = nn.Conv2d(4, 2, 1, (1, 2))
    plain.load_state_dict(risky.state_dict())
    x = torch.randn(2, 4, 8, 8)
    assert torch.allclose(plain(x), risky(x), atol=1e-6)
    assert repr(plain) == repr(risky)
