"""Multiply-adds by formula are those that torch counts at every operation."""

import pytest
import torch
import torch.nn.functional as F
from shipped import DISTINCT, usual_input
from torch.utils.flop_counter import FlopCounterMode

from cnnlab.config.compose import compose, plain
from cnnlab.models.cost import MultiplyAdds
from cnnlab.models.network import Network

ZOO = ["googlenet", "maxvit_t", "mobilenet_v3_small", "regnet_y_400mf", "resnet18", "swin_t", "vit_b_16"]


def counted(network, image) -> tuple[int, int]:
    """By formula, and by torch."""
    with torch.no_grad():
        with MultiplyAdds() as ours:
            network(image)
        with FlopCounterMode(display=False) as theirs:
            network(image)
    return ours.total, theirs.get_total_flops() // 2


@pytest.mark.parametrize("name", DISTINCT)
def test_every_shipped_network(name):
    model = plain(compose("train", [f"model={name}"])[0])["model"]
    shape, classes = usual_input(name)
    with torch.device("meta"):
        network = Network(model, shape, classes).eval()
        ours, theirs = counted(network, torch.empty(1, *shape))
    assert ours == theirs == network.macs > 0


@pytest.mark.parametrize("arch", ZOO)
def test_torchvisions_kinds_of_networks(arch):
    from torchvision import models

    network = models.get_model(arch, weights=None).eval().to("meta")
    ours, theirs = counted(network, torch.empty(1, 3, 224, 224, device="meta"))
    assert ours == theirs > 1e7


@pytest.mark.parametrize(
    "function",
    [
        lambda x: F.conv1d(x, torch.empty(6, 2, 3), groups=2, stride=2),
        lambda x: F.conv_transpose1d(x, torch.empty(4, 3, 5), groups=2),
        lambda x: F.linear(input=x, weight=torch.empty(5, 8)),
        lambda x: x @ torch.empty(2, 8, 3),
        lambda x: torch.baddbmm(torch.empty(2, 4, 5), x, torch.empty(2, 8, 5)),
        lambda x: torch.einsum("b c l, l k -> b c k", x, torch.empty(8, 7)),
        lambda x: torch.einsum("...l, ...l -> ...", [x, x]),
        lambda x: F.scaled_dot_product_attention(x, torch.empty(2, 6, 8), torch.empty(2, 6, 8)),
    ],
)
def test_each_formula(function):
    with torch.device("meta"):
        ours, theirs = counted(function, torch.empty(2, 4, 8))
    assert ours == theirs > 0


def test_what_only_keeps_the_shape_is_not_computed_on_the_meta_device_unless_it_does_not_fit():
    x = torch.empty(1, 4, 5, 5, device="meta")
    norms = [torch.nn.BatchNorm2d(channels, device="meta").eval() for channels in (4, 3)]
    with MultiplyAdds():
        assert norms[0](x) is x
        with pytest.raises(RuntimeError):
            norms[1](x)
