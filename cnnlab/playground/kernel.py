"""Apply the user's kernel to a picture file, in the lesson on convolution or as a PNG."""

from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from cnnlab.data.images import read_image, resize
from cnnlab.models.modules import FixedFilter2d
from cnnlab.playground import slides

LONGEST = 28  # longest side of a picture on the page, in pixels
LARGEST = 7  # rows and columns of a kernel on the page, at most
Kernel = str | list[list[float]]


def start(content: dict[str, Any], picture: str | None, kernel: Kernel | None) -> dict[str, Any]:
    """Set the picture or the kernel, by name or by its rows, from which the lesson starts.

    Raises:
        ValueError: the file is no picture, or the kernel's numbers of rows and columns are not odd and at most 7.
    """
    begin = dict(content["start"])
    if picture is not None:
        begin["picture"] = Path(picture).name
        content["pictures"] = {begin["picture"]: _small(_read(picture, 1)), **content["pictures"]}
    if kernel is not None:
        begin |= {"kernel": kernel if isinstance(kernel, str) else "given", "divided": False}
        rows = _filter(kernel, 1).kernel.tolist()
        if max(len(rows), len(rows[0])) > LARGEST:
            raise ValueError(f"kernel has {len(rows)} rows of {len(rows[0])}; the page has room for {LARGEST}")
        content["kernels"] = {begin["kernel"]: rows, **content["kernels"]}  # the page selects the first
    return content | {"start": begin}


def write_filtered(picture: str, kernel: Kernel, folder: Path) -> Path:
    """Filter a picture with a kernel, in its own size and colours, and write a PNG; return its path.

    A kernel whose sum is not 0 is divided by it, which keeps the brightness; values are clipped to black and white.
    """
    pixels = _read(picture, 3)
    values = _filter(kernel, 3, normalise=True)(pixels[None].float() / 255)[0].clamp(0, 1)
    path = folder / f"{Path(picture).stem}-{kernel if isinstance(kernel, str) else 'given'}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray((values * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()).save(path)
    return path


def _filter(kernel: Kernel, channels: int, normalise: bool = False) -> FixedFilter2d:
    named = slides.weights()[0] | slides.DETECTORS
    try:
        return FixedFilter2d(channels, named.get(kernel, kernel) if isinstance(kernel, str) else kernel, normalise)
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"kernel={kernel}: {error}; give a name or rows of numbers, [[0,1,0],[1,-4,1],[0,1,0]]"
        ) from error


def _read(picture: str, channels: int) -> Tensor:
    """Read a picture file as bytes (channels, height, width)."""
    try:
        return read_image(Path(picture), channels)
    except (OSError, ValueError) as error:
        raise ValueError(f"picture={picture}: {error}") from error


def _small(pixels: Tensor) -> list[list[float]]:
    """Return bytes (1, H, W) as rows from 0 to 1, scaled down to LONGEST."""
    factor = min(1.0, LONGEST / max(pixels.shape[1:]))
    height, width = (max(1, round(n * factor)) for n in pixels.shape[1:])
    rows: list[list[float]] = (resize(pixels[None], (height, width))[0, 0].float() / 255).tolist()
    return rows
