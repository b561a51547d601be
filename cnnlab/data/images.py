"""Read, scale and crop images to the bytes that a network takes."""

import warnings
from pathlib import Path
from struct import error as struct_error
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from cnnlab.data.forms import Config, Facts, Form, in_chunks

if TYPE_CHECKING:
    from PIL import Image

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".pgm", ".ppm"})


def read_image(path: Path, channels: int, short: int | None = None) -> Tensor:
    """Read an image of any size and mode as bytes (channels, height, width), its short side scaled to `short` pixels.

    Grey, RGB, palette and 16-bit images are converted; transparent pixels become white. Pillow scales, as in
    torchvision's transforms of a Pillow image, so that the bytes are the same.

    Raises:
        OSError, ValueError: not an image, truncated, or so large that it may be a decompression bomb.
    """
    from PIL import Image, ImageOps

    with warnings.catch_warnings(action="error", category=Image.DecompressionBombWarning):
        try:
            with Image.open(path) as opened:
                picture = ImageOps.exif_transpose(opened)
                if picture.mode.startswith("I") or picture.mode == "F":
                    picture = _to_bytes(picture, picture.info.get("transparency"))
                if "A" in picture.getbands() or "transparency" in picture.info:
                    picture = picture.convert("RGBA")
                    picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
                picture = picture.convert({1: "L", 3: "RGB"}[channels])
                array = np.array(picture if short is None else _scaled(picture, short))
        except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
            raise ValueError(f"too large to be opened safely: {error}") from error
        except (SyntaxError, EOFError, struct_error) as error:  # raised by Pillow for some broken files
            raise ValueError(f"broken image: {error}") from error
    tensor = torch.from_numpy(array)
    return tensor.unsqueeze(0) if channels == 1 else tensor.permute(2, 0, 1).contiguous()


def _scaled(picture: "Image.Image", short: int) -> "Image.Image":
    from PIL import Image

    width, height = (short * side // min(picture.size) for side in picture.size)
    if width * height > (Image.MAX_IMAGE_PIXELS or np.inf):
        raise ValueError(f"too long to be scaled to a short side of {short}: {picture.width}x{picture.height}")
    return picture.resize((width, height), Image.Resampling.BILINEAR)


def _to_bytes(picture: "Image.Image", clear: int | None) -> "Image.Image":
    """Convert 16-bit grey to 8-bit, scaled unless all values fit in a byte; the value `clear` becomes transparent."""
    from PIL import Image

    values = np.nan_to_num(np.asarray(picture, dtype=np.float64))
    full = 65535.0 if values.max(initial=0) > 255 or picture.mode.startswith("I;16") else 255.0
    grey = Image.fromarray((values.clip(0, full) * (255 / full)).round().astype(np.uint8))
    if clear is not None:
        grey.putalpha(Image.fromarray((values != clear).astype(np.uint8) * 255))
    return grey


def resize(images: Tensor, size: tuple[int, int] | int | None) -> Tensor:
    """Resize bytes (N, C, H, W) to another height and width, bilinear with antialiasing; None keeps them."""
    size = (size, size) if isinstance(size, int) else size
    if size is None or images.shape[2:] == size:
        return images

    def scale(part: Tensor) -> Tensor:
        floats = F.interpolate(part.float(), size, mode="bilinear", antialias=True)
        return floats.round().clamp(0, 255).to(torch.uint8)

    return in_chunks(scale, images, 4096)


def centre_crop(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Crop images (N, C, H, W) at their centre; an odd margin is rounded as in torchvision.

    Raises:
        ValueError: the images are smaller.
    """
    (height, width), (rows, columns) = images.shape[2:], size
    if rows > height or columns > width:
        raise ValueError(f"data.crop takes {rows}x{columns} pixels out of an image of {height}x{width}")
    top, left = round((height - rows) / 2), round((width - columns) / 2)
    return images[:, :, top : top + rows, left : left + columns]


def read_input(path: Path, facts: Facts, config: Config) -> Tensor:
    """Read an image file as an input (1, C, H, W) of a network trained with a data config.

    Raises:
        OSError, ValueError: as `read_image`.
    """
    short = config.get("resize") if config.get("crop") else None
    return to_input(read_image(path, facts.shape[0], short)[None], facts, config)


def to_input(images: Tensor, facts: Facts, config: Config) -> Tensor:
    """Scale, crop, trim and permute bytes (N, C, any height and width) to inputs of a network, (N, C, H, W)."""
    trim = config.get("trim", 0)
    _, height, width = facts.shape
    uncut = (height + 2 * trim, width + 2 * trim)
    if config.get("crop"):
        images = centre_crop(_resize_short(images, config.get("resize")), uncut)
    else:
        images = resize(images, uncut)
    images = images[:, :, trim : trim + height, trim : trim + width]
    return permute_pixels(images) if config.get("permute_pixels") else images


def _resize_short(images: Tensor, short: int | None) -> Tensor:
    sides = images.shape[2:]
    return images if short is None else resize(images, (short * sides[0] // min(sides), short * sides[1] // min(sides)))


def permute_pixels(images: Tensor) -> Tensor:
    """Permute the pixels of images (N, C, H, W) in a fixed way, the same for every image and channel.

    "If your data is just as useful after swapping any of your columns with each other, you can't use a convnet."
    """
    height, width = images.shape[2:]
    order = torch.randperm(height * width, generator=torch.Generator().manual_seed(0)).to(images.device)
    return images.flatten(2)[:, :, order].view_as(images)


def picture_facts(facts: Facts, config: Config) -> Facts:
    """Return the facts of a network's inputs from those of the loaded images.

    Raises:
        ValueError: an impossible size or number of channels.
    """
    channels, height, width = facts.shape
    size = config.get("resize")
    if size is not None and (not isinstance(size, int) or size < 1):
        raise ValueError(f"data.resize must be a whole number of at least 1, or null, not {size!r}")
    wanted = config.get("channels")
    if wanted not in (None, channels):
        if (channels, wanted) != (1, 3):
            raise ValueError(
                f"data.channels={wanted}: images of data={config['name']} have {channels}; only grey ones can be "
                "repeated, as 3"
            )
        channels = wanted
    height, width = (size or height), (size or width)
    crop = config.get("crop")
    if crop is not None:
        if not isinstance(crop, int) or not 1 <= crop <= min(height, width):
            raise ValueError(f"data.crop={crop!r} is cut out of {height}x{width} images; raise data.resize")
        height = width = crop
    trim = config.get("trim", 0)
    if not isinstance(trim, int) or not 0 <= 2 * trim < min(height, width):
        raise ValueError(f"data.trim={trim!r} cuts that many pixels off each edge of {height}x{width} images")
    return facts._replace(shape=(channels, height - 2 * trim, width - 2 * trim))


PICTURES = Form("image", ("channel", "row", "column"), SUFFIXES, picture_facts, to_input, read_input)
