"""Random surgery on every shipped network: it trains a step with the gradients of float64, or one line says why not.

Cases run in processes of their own, so that a crash or a hang is a failure and not the end. `make soak` runs 2,000.
"""

import copy
import json
import os
import random
from typing import Any

import pytest
import torch
from children import in_a_child
from shipped import LARGE, MODELS
from torch import Tensor, nn

from cnnlab.config.compose import compose, plain
from cnnlab.models.activations import ACTIVATIONS
from cnnlab.models.initialisation import SCHEMES
from cnnlab.models.layers import KINDS
from cnnlab.models.modules import KERNELS
from cnnlab.models.units import NORMS
from cnnlab.training.classifier import Classifier

pytestmark = pytest.mark.slow

CASES = int(os.environ.get("CNNLAB_CASES", "200"))
AT_ONCE = 5  # cases in one process, one after the other
TOLERANCE = 0.1  # of a gradient's norm: a ReLU or a maximum may fall the other way; what torch gets wrong is worse
SHAPES = [(1, 28, 28), (1, 28, 28), (1, 9, 9), (3, 32, 32), (3, 32, 32), (1, 8, 8), (3, 64, 64), (1, 24, 24)]
WRONG = [0, -1, 1.5, "x", None, True, [], [2], [1, 2], [3, 1, 2], {"a": 1}, 1e308, 20]


def surgery(rng: random.Random, models: dict[str, dict]) -> dict[str, Any]:
    """A case: a shipped network changed in one to four ways, the shape of an image, the number of classes."""
    name = rng.choice(MODELS)
    model = copy.deepcopy(models[name])
    shape = (3, 227, 227) if name in LARGE else rng.choice(SHAPES)
    if name in LARGE:
        model["width"] = rng.choice([0.02, 0.05])
    for _ in range(rng.randint(1, 4)):
        rng.choice([remove, insert, insert, resize, resize, swap, choose, wish])(rng, model)
    return {"name": name, "model": model, "shape": shape, "classes": rng.choice([2, 10, 10, 100])}


def remove(rng: random.Random, model: dict) -> None:
    names = [n for n, spec in model["layers"].items() if not KINDS[spec["kind"]].gives_classes]
    name = rng.choice(names or ["head"])
    model["remove"] = [*model["remove"], rng.choice([name, name, f"{name[:2]}*", f"*{name[-1]}", "con*"])]


def insert(rng: random.Random, model: dict) -> None:
    kind = rng.choice([k for k in KINDS if k != "torchvision"])
    spec: dict[str, Any] = {"kind": kind, "after": rng.choice(["input", *model["layers"]])}
    if KINDS[kind].merge:  # of what stands before, which may not fit
        place = list(model["layers"]).index(spec["after"]) + 1 if spec["after"] != "input" else 0
        spec["from"] = [spec["after"], rng.choice(["input", *list(model["layers"])[:place]])]
        model["repair"] = rng.random() < 0.7
    for option in KINDS[kind].options:
        if option != "num_classes" and (option in NEEDED or rng.random() < 0.3):
            spec[option] = value(rng, option, model)
    model["layers"][f"new{len(model['layers'])}"] = spec


def resize(rng: random.Random, model: dict) -> None:
    spec = model["layers"][rng.choice(list(model["layers"]))]
    option = rng.choice([*KINDS[spec["kind"]].options, "activation", "norm", "dropout", "init"])
    if option not in ("num_classes", "arch", "weights"):
        spec[option] = value(rng, option, model)


def swap(rng: random.Random, model: dict) -> None:
    same = [{"maxpool", "avgpool", "lppool", "trainable_pool"}, {"batchnorm", "layernorm", "lrn", "instancenorm"}]
    for spec in model["layers"].values():
        for kinds in same:
            if spec["kind"] in kinds and rng.random() < 0.5:
                spec["kind"] = rng.choice(sorted(kinds))


def choose(rng: random.Random, model: dict) -> None:
    option = rng.choice(["activation", "norm", "dropout", "init", "strict_sizes", "loss"])
    model[option] = value(rng, option, model)


def wish(rng: random.Random, model: dict) -> None:
    model["width"] = rng.choice([0.02, 0.03] if model["name"] in LARGE else [0.1, 0.5, 1.5, 2, 0.33])


NEEDED = ("channels", "kernel_size", "features", "kernel")


def value(rng: random.Random, option: str, model: dict) -> Any:
    """A value for an option: mostly one that makes sense, now and then one that does not."""
    if rng.random() < 0.08:
        return rng.choice(WRONG)
    size = rng.choice([1, 1, 2, 2, 3, 3, 4, 5])
    sides = [size, rng.choice([1, 2, 3])]
    return {
        "channels": rng.choice([1, 2, 3, 4, 6, 8, 12, 16]),
        "features": rng.choice([1, 2, 7, 16, 84]),
        "kernel_size": rng.choice([size, size, sides]),
        "stride": rng.choice([1, 2, 3, sides]),
        "padding": rng.choice([0, 1, 2, "same", "valid"]),
        "dilation": rng.choice([1, 2]),
        "groups": rng.choice([1, 2, 3, 8]),
        "bias": rng.choice([True, False]),
        "connections": rng.choice([None, [[0], [0]], [[rng.randrange(3)] for _ in range(6)]]),
        "ceil": rng.choice([True, False]),
        "output_size": rng.choice([1, 2, sides]),
        "p": rng.choice([0.3, 1, 1.5, 2, 3]),
        "size": rng.choice([1, 2, 5]),
        "eps": 1e-3,
        "momentum": rng.choice([0.1, 0.5]),
        "factor": rng.choice([0.1, -2.0]),
        "alpha": 1e-3,
        "beta": 0.75,
        "k": 1.0,
        "kernel": rng.choice(sorted(KERNELS)),
        "normalise": rng.choice([True, False]),
        "activation": rng.choice([None, *ACTIVATIONS]),
        "norm": rng.choice([None, *NORMS, {"kind": "batch", "eps": 1e-3}]),
        "dropout": rng.choice([None, 0.3, 1.0]),
        "init": rng.choice([None, *SCHEMES]),
        "strict_sizes": rng.random() < 0.3,
        "loss": rng.choice([None, "cross_entropy", "mse", "target_distance", "map"]),
    }.get(option, size)


def outcome(case: dict[str, Any]) -> str:
    """What becomes of a case: "trains", or the line that refuses it; anything else is raised."""
    channels, *_ = case["shape"]
    classes = [str(i) for i in range(case["classes"])]
    try:
        single = Classifier(case["model"], case["shape"], classes, [0.4137] * channels, [0.3] * channels)
    except ValueError as error:
        return str(error)
    images = torch.randint(0, 256, (6, *case["shape"]), dtype=torch.uint8)
    single.network.fit_to(images)
    still(single)
    double = copy.deepcopy(single).to(torch.float64, memory_format=torch.contiguous_format)
    labels = torch.arange(6) % case["classes"]
    ours, truth = gradients(single, images, labels), gradients(double, images, labels)
    off = {name: float((ours[name] - gradient).norm()) for name, gradient in truth.items()}
    sizes = {name: float(gradient.norm()) for name, gradient in truth.items()}
    allowed = {name: max(TOLERANCE * size, 1e-3 * max(sizes.values())) for name, size in sizes.items()}
    if any(off[name] > allowed[name] for name in off):
        rounded = gradients(rounded_otherwise(double), images, labels)
        for name, gradient in truth.items():
            noise = float((rounded[name] - gradient).norm())
            assert off[name] <= max(allowed[name], 1000 * noise), (
                f"the gradient of {name} is off by {off[name]:.2g} of {sizes[name]:.2g}, noise {noise:.2g}"
            )
    optimizer = torch.optim.SGD([p for p in single.network.parameters() if p.requires_grad], 1e-3)
    optimizer.step()
    return "trains"


def gradients(classifier: Classifier, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """Of every weight, in float64."""
    classifier.loss(classifier.network(images), labels).backward()
    return {n: p.grad.double() for n, p in classifier.network.named_parameters() if p.grad is not None}


def rounded_otherwise(double: Classifier) -> Classifier:
    """A copy whose values differ by what float32 leaves out: how far gradients then differ is nobody's error."""
    other = copy.deepcopy(double)
    other.zero_grad()
    for module in other.network.modules():
        if not list(module.children()):
            module.register_forward_hook(lambda m, i, output: output * (1 + 2**-23 * torch.randn_like(output)))
    return other


def still(classifier: Classifier) -> None:
    """Train mode without chance, which float32 and float64 draw differently."""
    classifier.train()
    for module in classifier.modules():
        if isinstance(module, (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.RReLU)):
            module.eval()


@pytest.fixture(scope="module")
def models():
    return {name: plain(compose("train", [f"model={name}"])[0])["model"] for name in MODELS}


def refused_well(case: dict[str, Any], said: str) -> bool:
    """Whether a case trains, or is refused in one line that names a layer."""
    names = [*case["model"]["layers"], "model.", "loss"]
    return said == "trains" or ("\n" not in said and any(name in said for name in names))


def outcomes(cases: list[dict[str, Any]]) -> list[str]:
    return [outcome(case) for case in cases]


@pytest.mark.parametrize("first", range(0, CASES, AT_ONCE))
def test_networks_train_or_are_refused_in_one_line_that_names_a_layer(models, first):
    cases = [surgery(random.Random(seed), models) for seed in range(first, min(first + AT_ONCE, CASES))]
    try:
        wrong = [
            (c, said) for c, said in zip(cases, in_a_child(outcomes, cases), strict=True) if not refused_well(c, said)
        ]
    except AssertionError as error:
        for case in cases:  # which one it is
            try:
                in_a_child(outcome, case)
            except AssertionError as own:
                pytest.fail(f"{own}\n{json.dumps(case)}")
        raise AssertionError("only one after the other in a process") from error
    assert not wrong, json.dumps(wrong)
