"""Make plates of a layer's values and weights."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from cnnlab.inspection.plates import Card, Maps, Pictures, Plate, Strip, Tile

MAPS = 16  # maps shown of a layer
CELLS = 512  # values shown of a vector
FINEST = 64  # values along an axis of a map; larger maps are averaged
FILTERS, READ = 16, 8  # filters shown of a layer, and maps shown of those that each reads
ROWS, COLUMNS = 64, 256  # shown of a matrix of weights
CELL = 14  # largest width of a value of a matrix, in pixels

SAYS = {
    "activation": "What {layer} gives for the input chosen{each}.",
    "gradient": "How the loss of the input chosen changes with each of these values: where it is red, a larger value "
    "makes the loss larger. Small where the network is right and sure of it.",
    "weights": "The pattern that each filter looks for: what lies under red weights raises its map, under blue ones "
    "lowers it.",
    "weight gradients": "How the loss of the {images} inputs changes with each weight: a step of the optimizer lowers "
    "what is red and raises what is blue.",
}


def maps_plate(kind: str, layer: str, values: Tensor, dead: Sequence[int]) -> Maps:
    """Make a plate of a layer's activations, or their gradients: (N, C), (N, C, L) or (N, C, H, W)."""
    values = values.detach().float().cpu()
    if values.ndim == 3 and values.shape[2] > 1:
        count, title = values.shape[1], f"{kind}s, a row for each map, a column for each position"
        title += f", the first {ROWS} of {count:,} maps" if count > ROWS else ""
        says = SAYS[kind].format(layer=layer, each="")
        return Maps(title, says, values[:, None, :ROWS, :COLUMNS], tile=512, aside=kind == "gradient")
    values = values.reshape(*values.shape[:2], *(1,) * (4 - values.ndim), *values.shape[2:])
    cells, count = values.shape[2:].numel() == 1, values.shape[1]
    shown, what = (CELLS, "values") if cells else (MAPS, "maps")
    values = values[:, :shown]
    side = -(-max(values.shape[2:]) // FINEST)
    each = f": {'a cell for each value' if cells else 'a tile for each of its maps'}"
    if side > 1:
        values = F.avg_pool2d(values, tuple(min(side, n) for n in values.shape[2:]), ceil_mode=True)
        each += f", each pixel the mean of {side} × {side} values"
    title = f"{kind}s" + (f", the first {shown} of {count:,} {what}" if count > shown else "")
    says = SAYS[kind].format(layer=layer, each=each)
    marked = [unit for unit in dead if unit < shown] if kind == "activation" else []
    return Maps(title, says, values, marked, aside=kind == "gradient")


def weights_plate(kind: str, weights: Tensor, sees: Sequence[int] | None, images: int) -> Plate:
    """Make a plate of a layer's weights, or their gradients.

    Args:
        kind: "weights" or "weight gradients".
        weights: (filters, maps read, k, k), (filters, maps read, k), (units, values read), or, for unshared
            filters, (rows, columns, filters, maps read, k, k).
        sees: shape of the input, if the layer reads it.
        images: number of images in the loss of the gradients.
    """
    weights, aside = weights.detach().float().cpu(), kind != "weights"
    one = "filter" if weights.ndim > 2 else "unit"
    says = SAYS[kind].format(images=images)
    if sees is not None and weights.ndim == 2 and weights.shape[1] == torch.Size(sees).numel() and len(sees) == 3:
        weights = weights.view(-1, *sees)  # a dense layer on pixels: each unit has a weight for every pixel
    if weights.ndim == 6:  # unshared filters are laid out by position
        rows, columns, count, _, height, width = weights.shape
        laid = weights[:, :, :MAPS, 0].permute(2, 0, 3, 1, 4).reshape(1, -1, rows * height, columns * width)
        title = f"{kind}, a tile for each {'' if count <= MAPS else f'of the first {MAPS} of {count:,} '}output"
        return Maps(f"{title}: its filters, each where it looks, on the first map", says, laid, tile=160, aside=aside)
    if weights.ndim == 2:
        title = f"{kind}, a row for each unit, a column for each value that it reads"
        if weights.shape[0] > ROWS or weights.shape[1] > COLUMNS:
            title += (
                f"; the first {min(ROWS, len(weights))} of {len(weights):,} and {min(COLUMNS, weights.shape[1])} of "
            )
            title += f"{weights.shape[1]:,}"
        if not aside:
            says = "How much each value that the layer reads adds to each unit: red adds, blue takes away."
        shown = weights[None, None, :ROWS, :COLUMNS]
        return Maps(title, says, shown, tile=min(512, CELL * shown.shape[3]), aside=aside)
    weights = weights.reshape(*weights.shape[:2], *(1,) * (4 - weights.ndim), *weights.shape[2:])
    count, read = weights.shape[:2]
    title = f"{kind}, a tile for each " + (one if count <= FILTERS else f"of the first {FILTERS} of {count:,} {one}s")
    weights = weights[:FILTERS]
    if read == 1:
        return Maps(title, says, weights.transpose(0, 1), aside=aside)
    if read == 3 and sees is not None and not aside:
        coloured = 0.5 + 0.5 * weights / weights.abs().amax((1, 2, 3), keepdim=True).clamp(min=1e-12)
        tiles = [Tile(image, str(number)) for number, image in enumerate(coloured)]
        says = "The pattern of colours that each filter looks for, each on its own scale: grey weighs nothing."
        return Pictures(title, says, [Card("", [Strip("", tiles, wide=64)])])
    title += f", its weights on {'each of' if read <= READ else f'the first {READ} of'} the {read} maps that it reads"
    joined = F.pad(weights[:, :READ], (0, 1)).permute(0, 2, 1, 3).flatten(2)[:, :, :-1]
    return Maps(title, says, joined[None], tile=joined.shape[2] * min(7, max(2, 26 // weights.shape[3])), aside=aside)
