"""Compute curves of every activation and its derivative, and plot them."""

from pathlib import Path

import torch

from cnnlab.models.activations import ACTIVATIONS, activation
from cnnlab.reporting.plots import Curve, function_plot

REACH, POINTS = 4.0, 81


def write_activations(folder: Path) -> Path:
    """Plot all registered activations in `<folder>/activations.svg`; return its path."""
    path = folder / "activations.svg"
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(function_plot({name.replace("_", " "): curve(name) for name in ACTIVATIONS}), encoding="utf-8")
    return path


def curve(name: str) -> Curve:
    """Return x from -4 to 4, an activation with initial parameters at x, and its derivative."""
    x = torch.linspace(-REACH, REACH, POINTS, dtype=torch.float64, requires_grad=True)
    y = activation(name, 1).double().eval()(x[:, None])[:, 0]
    (slope,) = torch.autograd.grad(y.sum(), x)
    return x.tolist(), y.tolist(), slope.tolist()
