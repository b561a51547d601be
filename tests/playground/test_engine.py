"""What the page computes in Chromium against PyTorch: logits and the values of every layer, intact and silenced."""

import base64
import json

import numpy as np
import pytest
import torch
import yaml
from shipped import VARIED, usual_input
from torch import nn

from cnnlab.config.compose import compose, plain
from cnnlab.models.activations import ACTIVATIONS
from cnnlab.models.network import Network
from cnnlab.playground.describe import describe
from cnnlab.playground.store import Store
from cnnlab.playground.write import html
from cnnlab.trained.silence import MisfitError, parse, silenced
from cnnlab.training.classifier import Classifier

CLOSED = ("torchvision",)
OPEN = [m for m in VARIED if m not in CLOSED]


def network_of(model: dict, shape: tuple, classes: int, seed: int = 0) -> Network:
    """A network whose norms have statistics, and their own scale and shift, as a trained one has."""
    network = Network(model, shape, classes, mean=[0.4] * shape[0], std=[0.3] * shape[0], seed=seed)
    torch.manual_seed(seed)
    network.train()
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
                module.momentum = None
            if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d, nn.GroupNorm, nn.LayerNorm, nn.InstanceNorm2d)):
                module.weight.uniform_(0.5, 1.5)
                module.bias.uniform_(-0.5, 0.5)
        network(torch.rand(4, *shape))
    return network.eval()


def opened(browser, tmp_path, network: Network, means=None):
    """The page of a network, in a browser."""
    shape = network.shapes["input"]
    described, store = describe(network, torch.rand(4, *shape), means or {})
    classes = [str(c) for c in range(network.table[-1].output_shape[0])]
    return open_page(browser, tmp_path, described, store, classes)


def open_page(browser, tmp_path, described: dict, store: Store, classes: list[str]):
    pictures = {"start": 0, "labels": [], "names": []}
    size = described["input"]["shape"][1:]
    prepare = {"own": size, "resize": None, "crop": None, "trim": 0, "order": None, "paper": 0}
    about = {"title": "test", "lead": "", "classes": classes, "pictures": pictures, "prepare": prepare}
    path = tmp_path / "index.html"
    path.write_text(html(about | described, store), encoding="utf-8")
    page = browser.new_page(offline=True)
    page.on("pageerror", lambda error: pytest.fail(str(error)))
    page.goto(f"file://{path}")
    return page


CALL = """async ([what, bytes, size, silence]) => {
  const all = Uint8Array.from(atob(bytes), (letter) => letter.charCodeAt(0)), answers = [];
  for (let start = 0; start < all.length; start += size)
    answers.push(await window.cnnlab[what](Float32Array.from(all.slice(start, start + size), (b) => b / 255), silence));
  const values = answers.flat(), floats = new Float32Array(values.reduce((sum, one) => sum + one.length, 0));
  let at = 0;
  for (const one of values) { floats.set(one, at); at += one.length; }
  const out = new Uint8Array(floats.buffer);
  let text = "";
  for (let i = 0; i < out.length; i += 32768) text += String.fromCharCode(...out.subarray(i, i + 32768));
  return btoa(text);
}"""


def asked(page, what: str, images: torch.Tensor, silence: dict | None = None) -> np.ndarray:
    """What the page answers for images (N, C, H, W) of bytes: all floats, one behind the other."""
    encoded = base64.b64encode(images.numpy().tobytes()).decode()
    answer = page.evaluate(CALL, [what, encoded, images[0].numel(), silence])
    return np.frombuffer(base64.b64decode(answer), np.float32)


def layer_values(network: Network, described: dict, image: torch.Tensor) -> list[tuple[str, np.ndarray]]:
    """What PyTorch computes for one image: of every layer the parts that the page has."""
    found, handles = {}, []
    for layer in described["layers"]:
        unit = network.get_submodule(layer["name"])
        for name, part in unit.named_children():
            key = (layer["name"], name)
            handles.append(part.register_forward_hook(lambda m, i, o, key=key: found.__setitem__(key, o.detach())))
    network(image)
    for handle in handles:
        handle.remove()
    return found


def check(page, network: Network, images: torch.Tensor, tolerance: float = 1e-3):
    """Hold the logits of all images and every layer's values of the first to PyTorch's."""
    with torch.no_grad():
        expected = torch.cat([network(part) for part in images.split(10)]).numpy()
    given = asked(page, "logits", images).reshape(expected.shape)
    assert np.abs(given - expected).max() <= tolerance * np.abs(expected).max()
    described = json.loads(page.evaluate("document.getElementById('network').textContent"))
    with torch.no_grad():
        values = layer_values(network, described, images[:1])
    flat, start = asked(page, "values", images[:1]), 0
    for layer in described["layers"]:
        for number, op in enumerate(layer["ops"]):
            size = int(np.prod(op["shape"]))
            part, start = flat[start : start + size], start + size
            last = number + 1 == len(layer["ops"]) or layer["ops"][number + 1]["part"] != op["part"]
            if last:
                right = values[layer["name"], op["part"]].numpy().ravel()
                assert np.abs(part - right).max() <= tolerance * np.abs(right).max(), (layer["name"], op["part"])
    assert start == len(flat)


def images_of(shape: tuple, count: int) -> torch.Tensor:
    return torch.randint(0, 256, (count, *shape), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def shipped_network(model: str, *overrides: str) -> Network:
    shape, classes = usual_input(model)
    return network_of(plain(compose("train", [f"model={model}", *overrides])[0])["model"], shape, classes)


@pytest.mark.slow
@pytest.mark.parametrize("model", OPEN)
def test_the_page_computes_what_pytorch_does(browser, tmp_path, model):
    network = shipped_network(model, *VARIED[model])
    page = opened(browser, tmp_path, network)
    check(page, network, images_of(usual_input(model)[0], 20))
    page.close()


KINDS = {
    "convolutions": """
        a: {kind: conv, channels: 6, kernel_size: [3, 5], stride: 2, padding: [1, 2], norm: batch}
        b: {kind: conv, channels: 9, kernel_size: 4, padding: same, groups: 3, norm: {kind: group, groups: 3}}
        c: {kind: conv, channels: 9, kernel_size: 3, dilation: 2, groups: 9, padding: same, bias: false, norm: instance}
        d: {kind: conv, channels: 4, kernel_size: 2, stride: [2, 3], norm: layer}
        e: {kind: conv, channels: 3, kernel_size: 3, padding: 1, connections: [[0, 1], [2], [0, 3]]}
        f: {kind: fixed_filter, kernel: sharpen}
        g: {kind: whiten}
        h: {kind: conv_classifier, kernel_size: 2}
        i: {kind: adaptive_maxpool}
        j: {kind: flatten}""",
    "unshared, uneven, turned": """
        a: {kind: local, channels: 4, kernel_size: [3, 4], stride: 2, padding: same, norm: batch}
        b: {kind: conv, channels: 5, kernel_size: [3, 4], stride: [2, 3], padding: same, correlate: false}
        c: {kind: local, channels: 3, kernel_size: 2, bias: false}
        d: {kind: linear, features: 10}""",
    "pools": """
        a: {kind: maxpool, kernel_size: 3, stride: 2, padding: 1, ceil: true}
        b: {kind: lrn, size: 3, alpha: 0.5}
        c: {kind: avgpool, kernel_size: [3, 2], stride: 2, padding: 1, ceil: true}
        d: {kind: lppool, kernel_size: 2, stride: 1, p: 3}
        e: {kind: trainable_pool, kernel_size: 2, stride: 1}
        f: {kind: adaptive_avgpool, output_size: [3, 2]}
        g: {kind: scale, factor: 3}
        h: {kind: channel_dropout}
        i: {kind: batchnorm}
        j: {kind: linear, features: 84, norm: layer, dropout: 0.5}
        k: {kind: rbf}""",
    "merges": """
        a: {kind: conv, channels: 4, kernel_size: 3, padding: same, activation: tanh}
        b: {kind: adaptive_avgpool}
        c: {kind: multiply, from: [a, b], activation: relu}
        d: {kind: add, from: [c, a, c2], norm: batch}
        e: {kind: concat, from: [d, a]}
        c2: {kind: conv, from: c, channels: 4, kernel_size: 1, after: c}
        f: {kind: classifier}""",
}


@pytest.mark.parametrize("layers", KINDS.values(), ids=KINDS)
def test_every_kind_of_layer(browser, tmp_path, layers):
    shape = (3, 23, 26)
    network = network_of({"name": "kinds", "layers": yaml.safe_load(layers)}, shape, 10)
    page = opened(browser, tmp_path, network)
    check(page, network, images_of(shape, 3), 1e-4)
    page.close()


def test_every_activation(browser, tmp_path):
    layers = {"wide": {"kind": "scale", "factor": 4.0}}
    layers |= {f"a_{name}": {"kind": "identity", "activation": name, "from": "wide"} for name in ACTIVATIONS}
    layers["a_tanh_gelu"] = {"kind": "identity", "activation": {"kind": "gelu", "approximate": "tanh"}, "from": "wide"}
    layers["all"] = {"kind": "concat", "from": [name for name in layers if name != "wide"]}
    network = network_of({"name": "all", "layers": {**layers, "head": {"kind": "classifier"}}}, (2, 9, 9), 3)
    with torch.no_grad():
        for values in network.parameters():
            values.add_(torch.rand_like(values) / 2)  # those of activations too, so that no two channels share theirs
    page = opened(browser, tmp_path, network)
    check(page, network, images_of((2, 9, 9), 3), 1e-5)
    page.close()


def test_javascript_alone_computes_the_same(browser, tmp_path):
    network = shipped_network("lenet5")
    page = opened(browser, tmp_path, network)
    image = images_of((1, 28, 28), 1)
    fast = asked(page, "logits", image)
    page.evaluate("window.cnnlab.restart(false)")
    assert page.evaluate("window.cnnlab.how()") == "JavaScript"
    assert np.abs(asked(page, "logits", image) - fast).max() < 1e-5 * np.abs(fast).max()
    page.close()


@pytest.fixture(scope="module")
def residual():
    """A classifier with residual blocks, branches and a concat, and means of its layers."""
    layers = """
        stem: {kind: conv, channels: 4, kernel_size: 3, padding: same}
        a_conv1: {kind: conv, channels: 4, kernel_size: 3, padding: same, norm: batch}
        a_conv2: {kind: conv, channels: 4, kernel_size: 3, padding: same, activation: null}
        a_add: {kind: add, from: [a_conv2, stem], activation: relu}
        b_conv1: {kind: conv, channels: 6, kernel_size: 3, stride: 2, padding: 1}
        b_conv2: {kind: conv, channels: 6, kernel_size: 3, padding: same, activation: null}
        b_short: {kind: conv, channels: 6, kernel_size: 1, stride: 2, from: a_add, activation: null}
        b_add: {kind: add, from: [b_conv2, b_short], activation: relu}
        c_left: {kind: conv, channels: 6, kernel_size: 1}
        c_right: {kind: maxpool, kernel_size: 3, stride: 1, padding: 1, from: b_add}
        c_both: {kind: concat, from: [c_left, c_right]}
        head: {kind: classifier}
        twice: {kind: scale, factor: 2}"""
    model = {"name": "residual", "activation": "tanh", "layers": yaml.safe_load(layers)}
    classifier = Classifier(model, (2, 12, 12), [*"abc"], [0.4, 0.5], [0.3, 0.2]).eval()
    means = {row.name: torch.rand(1, row.output_shape[0], *[1] * (len(row.output_shape) - 1)) for row in
             classifier.network.table}  # fmt: skip
    return classifier, means


LESIONS = [
    ["stem"], ["a_*"], ["a_conv1"], ["a_conv1", "a_conv2"], ["a_conv2", "a_add"], ["b_conv*"], ["b_conv1"], ["b_*"],
    ["b_short"], ["b_short", "b_add"], ["c_left"], ["c_right"], ["c_left", "c_right"], ["c_*"], ["a_conv2:1"],
    ["a_conv1:0", "a_conv1:3", "b_conv2"], ["twice"], ["stem:2", "c_both:7", "b_*"],
]  # fmt: skip


@pytest.mark.parametrize("by", ["mean", "zero", "pass"])
def test_every_lesion_answers_as_in_pytorch_or_is_refused_as_there(browser, tmp_path, residual, by):
    classifier, means = residual
    page = opened(browser, tmp_path, classifier.network, means)
    images = images_of((2, 12, 12), 3)
    answered = 0
    for asked_for in LESIONS:
        targets = parse(classifier.network, asked_for)
        try:
            with silenced(classifier, targets, by, means):
                expected = classifier.logits(images).numpy()
        except MisfitError:
            with pytest.raises(Exception, match=r"reads|changes"):
                asked(page, "logits", images, {"by": by, "layers": targets})
            continue
        answered += 1
        given = asked(page, "logits", images, {"by": by, "layers": targets}).reshape(expected.shape)
        assert np.abs(given - expected).max() <= 1e-4 * np.abs(expected).max(), asked_for
    page.close()
    assert answered >= (7 if by == "pass" else len(LESIONS))
