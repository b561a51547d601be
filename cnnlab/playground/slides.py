"""Provide the lectures' pictures, filters and examples as rows of numbers."""

import yaml

from cnnlab.config.keys import conf_dir
from cnnlab.data import xo

Rows = list[list[float]]

FACE = [
    [0, 0, 0, 0, 0, 0, 0],
    [0, 1, 0, 0, 0, 1, 0],
    [0, 0, 0, 0, 0, 0, 0],
    [0, 0, 0, 1, 0, 0, 0],
    [0, 1, 0, 0, 0, 1, 0],
    [0, 0, 1, 1, 1, 0, 0],
    [0, 0, 0, 0, 0, 0, 0],
]
CURVE = [
    [0, 0, 0, 0, 0, 0, 30],
    [0, 0, 0, 0, 50, 50, 50],
    [0, 0, 0, 20, 50, 0, 0],
    [0, 0, 0, 50, 50, 0, 0],
    [0, 0, 0, 50, 50, 0, 0],
    [0, 0, 0, 50, 50, 0, 0],
    [0, 0, 0, 50, 50, 0, 0],
]
DETECTORS: dict[str, Rows] = {
    "face detector": [[0, 0, 1], [1, 0, 0], [0, 1, 1]],
    "curve": [
        [0, 0, 0, 0, 0, 30, 0],
        [0, 0, 0, 0, 30, 0, 0],
        [0, 0, 0, 30, 0, 0, 0],
        [0, 0, 0, 30, 0, 0, 0],
        [0, 0, 0, 30, 0, 0, 0],
        [0, 0, 0, 30, 0, 0, 0],
        [0, 0, 0, 0, 0, 0, 0],
    ],
}
# probabilities of two classes that two networks give for three images, and the images' classes
NETWORKS = {"network 1": [[0.9, 0.1], [0.1, 0.9], [0.4, 0.6]], "network 2": [[0.6, 0.4], [0.3, 0.7], [0.1, 0.9]]}
TARGETS = [0, 1, 0]
# sizes of input and window, stride, padding
SIZES = [(7, 3, 1, 0), (7, 3, 2, 0), (7, 3, 3, 0), (7, 3, 1, 1), (32, 5, 1, 2), (32, 5, 1, 0), (28, 5, 1, 0)]


def letters() -> dict[str, Rows]:
    """Return the X and the O, 9x9, background -1 and ink 1."""
    drawn: list[Rows] = (xo.draw(2)[0][:, 0].float() / 127.5 - 1).tolist()
    return dict(zip("XO", drawn, strict=True))


def weights() -> tuple[dict[str, Rows], Rows]:
    """Return the filters of `model=xo_slides` by name, and the weights of its votes, a row for X and one for O."""
    layers = yaml.safe_load((conf_dir() / "model/xo_slides.yaml").read_text(encoding="utf-8"))["layers"]
    filters = (maps[0] for maps in layers["conv1"]["weights"])
    return dict(zip(("backslash", "cross", "slash"), filters, strict=True)), layers["head"]["weights"]
