"""Add a layer kind and an initialisation."""

from functools import partial

import torch
from torch import Tensor, nn

from cnnlab.models.initialisation import SCHEMES
from cnnlab.models.layers import Shape, layer


class Coordinates(nn.Module):
    """Add two maps that hold each pixel's row and column, from -1 to 1 (Liu et al. 2018)."""

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, channels, height, width) to (N, channels + 2, height, width)."""
        rows, columns = (torch.linspace(-1, 1, size, device=x.device, dtype=x.dtype) for size in x.shape[2:])
        maps = torch.stack(torch.meshgrid(rows, columns, indexing="ij"))
        return torch.cat([x, maps.expand(x.shape[0], -1, -1, -1)], 1)


@layer()
def coordinates(shape: Shape) -> nn.Module:
    """Make the layer `kind: coordinates`."""
    if len(shape) != 3:
        raise ValueError(f"needs channels, height and width, got {'x'.join(map(str, shape))}")
    return Coordinates()


SCHEMES["small_normal"] = partial(nn.init.normal_, std=0.05)  # model.init=small_normal
