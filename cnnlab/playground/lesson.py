"""Write a lesson: the lectures' numbers step by step, as one HTML file that computes them."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from cnnlab.models.activations import ACTIVATIONS, activation
from cnnlab.models.modules import KERNELS
from cnnlab.playground import assets, slides
from cnnlab.playground.curves import write_activations
from cnnlab.playground.kernel import Kernel, start, write_filtered
from cnnlab.playground.operations import DESCRIPTIONS
from cnnlab.registry import pick

SCRIPTS = ("engine/shapes", "page/elements", "page/colours", "lessons/numbers", "lessons/window")


@dataclass(frozen=True)
class Lesson:
    """The content of a lesson's page."""

    title: str
    lead: str
    content: Callable[[], dict[str, Any]]  # initial data of its script
    scripts: tuple[str, ...] = ()  # in addition to those of all lessons and its own


def write_lesson(name: str, folder: Path, picture: str | None = None, kernel: Kernel | None = None) -> Path:
    """Write the page of a lesson, `<folder>/<name>.html`; return its path.

    The lesson on convolution may start from a picture, a file, and a kernel, a name or rows of numbers.

    Raises:
        ValueError: there is no such lesson, or no such picture or kernel.
    """
    lesson = pick(LESSONS, name, "lesson")
    content = lesson.content()
    for key, value in {"picture": picture, "kernel": kernel}.items():
        if value is not None and name != "convolution":
            raise ValueError(f"{key}={value} is for lesson=convolution, not for lesson={name}")
    if picture is not None or kernel is not None:
        content = start(content, picture, kernel)
    page = folder / f"{name}.html"
    folder.mkdir(parents=True, exist_ok=True)
    page.write_text(_html(name, lesson, content), encoding="utf-8")
    return page


def write_picture(name: str, folder: Path, picture: str | None, kernel: Kernel | None) -> Path | None:
    """Write the picture of a lesson: all activations, or a filtered picture if a picture and a kernel are given."""
    if name == "activations":
        return write_activations(folder)
    return write_filtered(picture, kernel, folder) if picture is not None and kernel is not None else None


def _html(name: str, lesson: Lesson, content: dict[str, Any]) -> str:
    """Render the page; its content security policy allows its own script, by hash, and no network address."""
    from jinja2 import Environment

    style = assets.style("lessons/style.css")
    scripts = [assets.read(f"{path}.js") for path in (*SCRIPTS, *lesson.scripts, f"lessons/{name}")]
    script = "\n".join([*scripts, 'lesson(JSON.parse(byId("content").textContent), byId("lesson"));\n'])
    policy = (
        "default-src 'none'; img-src data: blob:; base-uri 'none'; form-action 'none'; "
        f"script-src {assets.hash_of(script)}; style-src {assets.hash_of(style)}"
    )
    template = Environment(autoescape=True, trim_blocks=True).from_string(assets.read("lessons/index.html"))
    return template.render(
        title=lesson.title,
        lead=lesson.lead,
        policy=policy,
        style=style,
        script=script,
        content=json.dumps(content).replace("<", "\\u003c"),
    )


def _convolution() -> dict[str, Any]:
    edge = [[float(x >= 4) for x in range(9)] for _ in range(9)]
    return {
        "pictures": {**slides.letters(), "face": slides.FACE, "curve": slides.CURVE, "edge": edge},
        "kernels": {
            **slides.weights()[0],
            **slides.DETECTORS,
            **KERNELS,
        },
        "start": {"picture": "X", "kernel": "backslash", "divided": True},
    }


def _xo() -> dict[str, Any]:
    filters, votes = slides.weights()
    return {"letters": slides.letters(), "filters": filters, "votes": votes}


def _sizes() -> dict[str, Any]:
    return {"cases": [dict(zip("nfsp", case, strict=True)) for case in slides.SIZES]}


def _losses() -> dict[str, Any]:
    return {"networks": slides.NETWORKS, "targets": slides.TARGETS, "classes": ["class 0", "class 1"]}


def _activations() -> dict[str, Any]:
    return {"activations": {name: _parameters(activation(name, 1)) for name in ACTIVATIONS}, "start": "relu"}


def _parameters(module: nn.Module) -> dict[str, Any]:
    """Describe an activation for the engine: its kind, adjustable numbers, and fixed options."""
    described = DESCRIPTIONS[type(module)](module, 0)
    op: dict[str, Any] = described[0] if described else {"kind": "identity"}
    learned = {name: values.flatten().tolist() for name, values in op.get("learned", {}).items()}
    options = {name: value for name, value in op.items() if isinstance(value, float)} | learned
    fixed = {name: value for name, value in op.items() if isinstance(value, (bool, int))}
    numbers = {name: value for name, value in fixed.items() if not isinstance(value, bool) and name != "pieces"}
    return {"kind": op["kind"], "options": options | numbers, "fixed": fixed}


def _backprop() -> dict[str, Any]:
    return {
        "input": [[1, 0, 2], [0, 1, 1], [2, 1, 0]],
        "kernel": [[1, 0.5], [-0.5, 1]],
        "wanted": [[1, 2], [0, 1]],
        "logits": [2, 1, -1],
        "target": 1,
        "rate": 0.1,
    }


LESSONS = {
    "convolution": Lesson(
        "Convolution",
        "A window slides over a picture: at each place the values in it times the weights, added up.",
        _convolution,
    ),
    "xo": Lesson(
        "The X and O network",
        "Three filters, ReLU, pooling, pooling, flatten, votes: the network model=xo_slides, value by value.",
        _xo,
    ),
    "sizes": Lesson("Sizes", "A window of F values has (N - F + 2P) / S + 1 places on N values.", _sizes),
    "losses": Lesson("Losses", "Error rate, squared error and cross-entropy of two networks.", _losses),
    "activations": Lesson(
        "Activations",
        "Each with its derivative and its parameters.",
        _activations,
        ("engine/activations",),
    ),
    "backprop": Lesson("Backpropagation", "From the error back to the weights, number by number.", _backprop),
}
