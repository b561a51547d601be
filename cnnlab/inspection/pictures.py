"""Convert tensors and figures to pictures (3, H, W) from 0 to 1, data URLs and svg elements."""

import base64
import io
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from cnnlab.data.forms import Scale
from cnnlab.data.load import facts, form
from cnnlab.inspection.plates import Tile
from cnnlab.reporting.axis import placed_ticks
from cnnlab.training.datamodule import DataModule

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SIDE = 24  # pixels to which a small map is enlarged, at least
WIDEST = 640  # pixels of the wider side, at most
COLUMNS = 6  # images in a row of a gallery
PHOTO = 24  # pixels from which on a colour picture is a JPEG, which is smaller than a PNG
# colours of a drawing that follow those of the page
THEME = {"#000000": "var(--ink)", "#ffffff": "var(--paper)", "#808080": "var(--soft)", "#b0b0b0": "var(--line)"}


def tiles(maps: Tensor, columns: int, each: bool = False) -> Tensor:
    """Arrange maps (N, 1 or 3, H, W) of any range in rows of `columns` tiles, dark where low and bright where high.

    With `each` every tile is scaled by itself; otherwise all by their common range.
    """
    from torchvision.utils import make_grid

    maps = maps.detach().float().cpu()
    low, high = sorted(maps.shape[-2:])
    factor = max(1, min(-(-SIDE // low), WIDEST // high))
    maps = maps.repeat_interleave(factor, -2).repeat_interleave(factor, -1)
    grid: Tensor = make_grid(maps, nrow=columns, normalize=True, scale_each=each, pad_value=1.0)
    return grid


def scales_of(data: DataModule) -> tuple[Scale | None, Scale | None]:
    """Return the scales of the rows and the columns of a network's inputs; None where they are pixels."""
    data_form = form(data.config)
    if data_form.scales is None:
        return None, None
    found = data_form.scales(facts(data.config), data.config)
    row, column = data_form.axes[-2:]
    return found.get(row), found.get(column)


def axes_in_words(scales: Sequence[Scale | None]) -> str:
    """Describe the ranges of rows and columns in words; an empty text where they are pixels."""
    return " ".join(
        f"From {way}: {scale.values[0]:,.3g} to {scale.values[-1]:,.3g} {scale.unit}."
        for way, scale in zip(("top to bottom", "left to right"), scales, strict=True)
        if scale
    )


def figure(width: float, height: float) -> "Figure":
    """Make an empty figure, its size in inches."""
    from matplotlib.figure import Figure

    return Figure((width, height), dpi=100, layout="constrained")


def picture(drawn: "Figure") -> Tensor:
    """Render a figure as a picture (3, H, W) from 0 to 1."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(drawn)
    canvas.draw()
    return torch.from_numpy(np.array(canvas.buffer_rgba())[..., :3].copy()).permute(2, 0, 1).float() / 255


def gallery_figure(
    images: Tensor,
    captions: list[str],
    scales: Sequence[Scale | None],
    heat: Tensor | None = None,
) -> "Figure":
    """Draw images (N, C, H, W) from 0 to 1 with a caption each, overlaid with heat (N, H, W) if given.

    Axes have ticks where `scales` say what rows and columns mean.
    """
    rows = -(-len(images) // COLUMNS)
    drawn = figure((1.4 if scales == (None, None) else 2.0) * COLUMNS, 1.75 * rows)
    for index, (image, caption) in enumerate(zip(images, captions, strict=True)):
        axes = drawn.add_subplot(rows, COLUMNS, index + 1)
        axes.imshow(image.permute(1, 2, 0).expand(-1, -1, 3).numpy(), vmin=0, vmax=1, interpolation="nearest")
        if heat is not None:
            axes.imshow(heat[index].numpy(), cmap="inferno", alpha=0.6)
        axes.set_title(caption, fontsize=7)
        if scales == (None, None):
            axes.set_axis_off()
            continue
        axes.tick_params(labelsize=6, length=2, pad=1)
        for scale, axis in zip(scales, (axes.yaxis, axes.xaxis), strict=True):
            places, labels = placed_ticks(scale.values, scale.unit) if scale else ([], [])
            axis.set_ticks(places, labels)
    return drawn


def svg(drawn: "Figure", name: str) -> str:
    """Render a figure as an svg element with text as text; black and white become the page's ink and paper."""
    from matplotlib import rc_context

    out = io.StringIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": name, "svg.id": name}):
        drawn.savefig(out, format="svg", transparent=True, metadata={"Date": None})
    text = out.getvalue()
    text = re.sub(r"font: ([\d.]+px) [^;\"]*", r"font: \1 system-ui, sans-serif", text[text.index("<svg") :])
    for colour, variable in THEME.items():
        text = text.replace(colour, variable)
    return text


def data_url(tile: Tile) -> str:
    """Encode a tile's picture as a data URL: JPEG for photographs, else PNG; grey if it has no colours."""
    from PIL import Image

    levels = tile.image.detach().float().cpu().clamp(0, 1).mul(255).round().byte()
    if len(levels) == 1 or tile.signed:
        picture = Image.fromarray(levels[0].numpy(), "L")
    else:
        picture = Image.fromarray(levels[:3].permute(1, 2, 0).contiguous().numpy(), "RGB")
    if tile.opaque is not None:
        picture.putalpha(Image.fromarray(tile.opaque.mul(255).round().byte().cpu().numpy(), "L"))
    photo = picture.mode == "RGB" and min(picture.size) >= PHOTO
    out = io.BytesIO()
    picture.save(out, "JPEG" if photo else "PNG", **({"quality": 88} if photo else {"optimize": True}))
    kind = "jpeg" if photo else "png"
    return f"data:image/{kind};base64,{base64.b64encode(out.getvalue()).decode()}"


def on_grey(tile: Tile) -> Tensor:
    """Return a tile's picture, blended with grey where it is transparent."""
    return tile.image if tile.opaque is None else 0.5 + (tile.image - 0.5) * tile.opaque


def overlay(image: Tensor, heat: Tensor) -> Tensor:
    """Return an image (C, H, W), dimmed, overlaid with heat (H, W), the largest brightest."""
    glow = torch.tensor([1.0, 0.45, 0.05]).view(3, 1, 1)
    share = 0.85 * (heat / heat.max().clamp(min=1e-30)).clamp(0, 1)
    return 0.8 * image.expand(3, -1, -1) * (1 - share) + glow * share
