"""The activations a network can use, by name."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from cnnlab.names import pick


class ScaledTanh(nn.Module):
    """1.7159 tanh(2x/3), which maps ±1 to ±1 (LeCun et al. 1998, "Efficient BackProp")."""

    def forward(self, x: Tensor) -> Tensor:
        """Apply elementwise; any shape."""
        return 1.7159 * (x * (2 / 3)).tanh()


ACTIVATIONS: dict[str, type[nn.Module]] = {
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "hardswish": nn.Hardswish,
    "identity": nn.Identity,
    "leaky_relu": nn.LeakyReLU,
    "mish": nn.Mish,
    "prelu": nn.PReLU,
    "relu": nn.ReLU,
    "relu6": nn.ReLU6,
    "rrelu": nn.RReLU,
    "scaled_tanh": ScaledTanh,
    "selu": nn.SELU,
    "sigmoid": nn.Sigmoid,
    "silu": nn.SiLU,
    "softplus": nn.Softplus,
    "tanh": nn.Tanh,
}


def activation(choice: str | Mapping[str, Any]) -> nn.Module:
    """The module for a name ("relu") or a name with options ({kind: leaky_relu, negative_slope: 0.2}).

    Raises:
        ValueError: an unknown name, with the nearest known one.
    """
    options = {"kind": choice} if isinstance(choice, str) else dict(choice)
    return pick(ACTIVATIONS, options.pop("kind", None), "activation")(**options)
