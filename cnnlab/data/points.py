"""Draw points of two classes in the plane: the problems of the lectures' decision regions (after Lippmann 1987)."""

from collections.abc import Callable
from math import inf, pi

import torch
from torch import Tensor

from cnnlab.data.forms import Config, Form, as_loaded, refuse_files, refuse_image_keys
from cnnlab.registry import pick

CLASSES = ["A", "B"]
TURNS = 3  # of a spiral, as in Lang & Witbrock (1988)
TEETH = 4  # stripes of the meshed regions, each a tooth of one class that reaches into the other
REACH = 0.6  # of a tooth from the middle, either way

# where class B is, in the square from -1 to 1; each class has half of the square
REGIONS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "half_plane": lambda x, y: 0.8 * x + 0.6 * y > 0,
    "convex": lambda x, y: x.square() + y.square() < 2 / pi,  # a disc
    "xor": lambda x, y: (x > 0) != (y > 0),
    "meshed": lambda x, y: x > REACH * (1 - 2 * (((y + 1) * (TEETH / 2)).floor() % 2)),  # two combs, tooth in gap
}


def _spirals(along: Tensor, turned: Tensor) -> tuple[Tensor, Tensor]:
    """Return points on two equal spirals, half a turn apart; at the same angle they are 1/6 apart."""
    angle = 2 * pi * TURNS * along
    radius = torch.where(turned, -along, along)
    return radius * angle.cos(), radius * angle.sin()


def _moons(along: Tensor, turned: Tensor) -> tuple[Tensor, Tensor]:
    """Return points on two interlocking half circles of radius 2/3, one of them open upwards."""
    side = torch.where(turned, -1.0, 1.0)
    return side * ((pi * along).cos() * 2 - 1) / 3, side * ((pi * along).sin() * 2 - 0.5) / 3


# points on two curves: x and y, from the positions along a curve, 0 to 1, and whether it is that of class B
CURVES: dict[str, Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]] = {"two_spirals": _spirals, "moons": _moons}
KINDS = {**REGIONS, **CURVES}


def draw(kind: str, count: int, stream: int, noise: float, seed: int) -> tuple[Tensor, Tensor]:
    """Draw points (count, 2), float32 from about -1 to 1, and labels (count,) as int64, 0 for class A and 1 for B.

    Points of regions are uniform in the square, those of curves uniform along them, with alternating classes.

    Each `stream` has points of its own. `noise` is the standard deviation of what is added to each coordinate after
    labelling; `seed` decides everything random.
    """
    generator = torch.Generator().manual_seed(seed * 1_000_003 + stream)
    if kind in REGIONS:
        points = torch.rand(2, count, generator=generator) * 2 - 1
        labels = REGIONS[kind](points[0], points[1]).long()
    else:
        labels = torch.arange(count) % 2
        along = torch.rand(1, count, generator=generator)[0]
        # without the middle, where the spirals meet
        points = torch.stack(CURVES[kind](0.05 + 0.95 * along if kind == "two_spirals" else along, labels == 1))
    points = points + noise * torch.randn(2, count, generator=generator)
    return points.T.contiguous(), labels


def facts(config: Config) -> tuple[tuple[int, ...], int]:
    """Return the shape of a point and the number of classes.

    Raises:
        ValueError: a key of `data` with an invalid value.
    """
    pick(KINDS, config["kind"], "data.kind")
    for key, least in (("train_size", 1), ("test_size", 1), ("draw_seed", 0)):
        value = config[key]
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise ValueError(f"data.{key} must be a whole number of at least {least}, not {value!r}")
    noise = config["noise"]
    if not isinstance(noise, (int, float)) or isinstance(noise, bool) or not 0 <= noise < inf:
        raise ValueError(f"data.noise is a standard deviation, a number of at least 0, not {noise!r}")
    return (2,), len(CLASSES)


POINTS = Form("point", ("coordinate",), frozenset(), refuse_image_keys, as_loaded, refuse_files)
