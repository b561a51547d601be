"""The networks that torchvision has too: the same parameters in the same order, and with its weights its logits."""

import pytest
import torch
from shipped import usual_input
from torchvision import models
from zoo import filled

from cnnlab.models.network import Network
from cnnlab.models.zoo import torchvision as from_torchvision

pytestmark = pytest.mark.slow

THEIRS = {
    "alexnet_torchvision": "alexnet",
    "vgg11": "vgg11",
    "vgg11 model.norm=batch": "vgg11_bn",
    "vgg16": "vgg16",
    "vgg16 model.norm=batch": "vgg16_bn",
    "vgg19": "vgg19",
    "vgg19 model.norm=batch": "vgg19_bn",
    "googlenet": "googlenet",
    "squeezenet": "squeezenet1_1",
    "resnet18": "resnet18",
    "resnet34": "resnet34",
    "resnet50": "resnet50",
}


@pytest.mark.parametrize(("model", "arch"), THEIRS.items())
def test_with_torchvisions_weights_copied_in_order_logits_are_torchvisions(composed, model, arch):
    name, *overrides = model.split()
    shape, classes = usual_input(name)
    with torch.device("meta"):
        ours = Network(composed(f"model={name}", *overrides)["model"], shape, classes).eval()
    theirs = filled(arch, **({"aux_logits": False, "transform_input": False} if arch == "googlenet" else {}))
    weights = theirs.state_dict()
    assert [v.shape for v in ours.state_dict().values()] == [v.shape for v in weights.values()]
    ours.load_state_dict(dict(zip(ours.state_dict(), weights.values(), strict=True)), assign=True)
    image = torch.randn(1, *shape)
    with torch.inference_mode():
        given, expected = ours(image), theirs(image)
    assert given.shape == expected.shape == (1, classes)
    assert expected.std() > 0
    assert (given - expected).abs().max() <= 1e-5 * expected.abs().max()


@pytest.mark.parametrize(("arch", "size"), [("googlenet", 32), ("inception_v3", 75)])
@pytest.mark.parametrize("weights", [None, "DEFAULT"])
def test_no_auxiliary_classifier_is_left_that_training_would_not_reach(monkeypatch, arch, size, weights):
    published = models.get_model(arch, weights=None, aux_logits=True, init_weights=False).state_dict()
    monkeypatch.setattr(models.WeightsEnum, "get_state_dict", lambda self, **options: published)
    network = from_torchvision((3, size, size), 7, arch, weights, small_stem=False)
    logits = network(torch.rand(2, 3, size, size))
    assert logits.shape == (2, 7)
    logits.sum().backward()
    assert all(p.grad is not None for p in network.parameters())
