"""Activations by name: torch's, and those that torch.nn lacks.

Each is made for its number of input channels (or features), because some learn parameters per channel.
"""

from collections.abc import Callable, Mapping
from math import log
from typing import Any

import torch
from torch import Tensor, nn

from cnnlab.registry import kind_and_options, pick


class ScaledTanh(nn.Module):
    """1.7159 tanh(2x/3), which maps ±1 to ±1 (LeCun et al. 1998, "Efficient BackProp")."""

    def forward(self, x: Tensor) -> Tensor:
        """Apply elementwise to any shape."""
        return 1.7159 * (x * (2 / 3)).tanh()


class SReLU(nn.Module):
    """S-shaped ReLU (Jin et al. 2016), with four learned parameters per channel.

    t_l + a_l (x - t_l) below t_l, x between, t_r + a_r (x - t_r) above t_r.
    """

    def __init__(self, channels: int, t_l: float = -1.0, a_l: float = 0.2, t_r: float = 1.0, a_r: float = 0.2) -> None:
        super().__init__()
        self.t_l, self.a_l, self.t_r, self.a_r = (
            nn.Parameter(torch.full((channels,), value)) for value in (t_l, a_l, t_r, a_r)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, channels, ...) to the same shape."""
        t_l, a_l, t_r, a_r = (_per_channel(p, x) for p in (self.t_l, self.a_l, self.t_r, self.a_r))
        above = torch.where(x > t_r, t_r + a_r * (x - t_r), x)
        return torch.where(x < t_l, t_l + a_l * (x - t_l), above)


class APL(nn.Module):
    """Adaptive piecewise linear unit (Agostinelli et al. 2015): max(0, x) + sum_s a_s max(0, -x + b_s).

    `pieces` pairs of a and b are learned per channel; a starts at 0.2, b at even steps from -1 to 1.
    """

    def __init__(self, channels: int, pieces: int = 2) -> None:
        super().__init__()
        self.a = nn.Parameter(torch.full((pieces, channels), 0.2))
        self.b = nn.Parameter(torch.linspace(-1, 1, pieces).unsqueeze(1).repeat(1, channels))

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, channels, ...) to the same shape."""
        out = x.relu()
        for a, b in zip(self.a, self.b, strict=True):
            out = out + _per_channel(a, x) * (_per_channel(b, x) - x).relu()
        return out


class ISRLU(nn.Module):
    """Inverse square root linear unit (Carlile et al. 2017): x / sqrt(1 + alpha x^2) below 0, x above."""

    def __init__(self, alpha: float = 1.0) -> None:
        super().__init__()
        self.alpha = alpha

    def forward(self, x: Tensor) -> Tensor:
        """Apply elementwise to any shape."""
        return torch.where(x < 0, x * (1 + self.alpha * x * x).rsqrt(), x)


class BentIdentity(nn.Module):
    """(sqrt(x^2 + 1) - 1) / 2 + x, as the lectures list it."""

    def forward(self, x: Tensor) -> Tensor:
        """Apply elementwise to any shape."""
        return ((x * x + 1).sqrt() - 1) / 2 + x


class SoftPP(nn.Module):
    """Soft++ (Ciuparu et al. 2020): ln(1 + e^(k x)) + x/c - ln 2."""

    def __init__(self, k: float = 1.0, c: float = 2.0) -> None:
        super().__init__()
        self.k, self.c = k, c

    def forward(self, x: Tensor) -> Tensor:
        """Apply elementwise to any shape."""
        return nn.functional.softplus(self.k * x) + x / self.c - log(2)


def _per_channel(parameter: Tensor, x: Tensor) -> Tensor:
    return parameter.view(-1, *[1] * (x.ndim - 2))


Make = Callable[..., nn.Module]


def _plain(module: type[nn.Module], **defaults: Any) -> Make:
    """Make an activation without per-channel parameters from a module and its default options."""
    return lambda channels, **options: module(**{**defaults, **options})


ACTIVATIONS: dict[str, Make] = {
    "apl": APL,
    "bent_identity": _plain(BentIdentity),
    "elu": _plain(nn.ELU),  # alpha (e^x - 1) below 0, x above (Clevert et al. 2016)
    "gelu": _plain(nn.GELU),  # x P(X < x), X standard normal; approximate: none or tanh (Hendrycks & Gimpel 2016)
    "hardswish": _plain(nn.Hardswish),  # x relu6(x + 3) / 6 (Howard et al. 2019)
    "identity": _plain(nn.Identity),  # x; for a unit without activation in a model that has one
    "isrlu": _plain(ISRLU),
    "leaky_relu": _plain(nn.LeakyReLU),  # negative_slope x below 0, x above (Maas et al. 2013)
    "mish": _plain(nn.Mish),  # x tanh(ln(1 + e^x)) (Misra 2020)
    "prelu": nn.PReLU,  # a x below 0, x above; a is learned per channel and starts at init (He et al. 2015)
    "relu": _plain(nn.ReLU),  # max(0, x)
    "relu6": _plain(nn.ReLU6),  # min(max(0, x), 6)
    "rrelu": _plain(nn.RReLU),  # a x below 0; a random from lower to upper, in evaluation their mean (Xu et al. 2015)
    "scaled_tanh": _plain(ScaledTanh),
    "selu": _plain(nn.SELU),  # 1.0507 x above 0, 1.0507 * 1.67326 (e^x - 1) below (Klambauer et al. 2017)
    "sigmoid": _plain(nn.Sigmoid),  # 1 / (1 + e^-x)
    "silu": _plain(nn.SiLU),  # x / (1 + e^-x) (Elfwing et al. 2018)
    "softplus": _plain(nn.Softplus),  # ln(1 + e^(beta x)) / beta, x where beta x is above threshold
    "softpp": _plain(SoftPP),
    "srelu": SReLU,
    "tanh": _plain(nn.Tanh),  # the hyperbolic tangent
}


def activation(choice: str | Mapping[str, Any], channels: int) -> nn.Module:
    """Return the module for a name ("relu") or a name with options ({kind: leaky_relu, negative_slope: 0.2}).

    Raises:
        ValueError: an unknown name or option; names the nearest known one.
    """
    kind, options = kind_and_options(choice, "activation")
    make = pick(ACTIVATIONS, kind, "activation")
    try:
        return make(channels, **options)
    except TypeError as error:
        raise ValueError(f"activation {kind}: {error}") from error
