"""torchvision's networks with weights that no network of ours has by chance."""

from typing import Any

import torch
from torch import nn
from torchvision import models


def filled(arch: str, **options: Any) -> nn.Module:
    """A network of torchvision with random weights, biases and batch statistics, in evaluation mode."""
    options |= {"init_weights": False} if arch == "googlenet" else {}
    with torch.device("meta"):
        network = models.get_model(arch, weights=None, **options)
    network.to_empty(device="cpu")
    torch.manual_seed(0)
    for values in network.state_dict().values():
        if values.ndim > 1:
            values.uniform_(-1, 1).mul_((6 / values[0].numel()) ** 0.5)  # activations keep their size
        elif values.is_floating_point():
            values.uniform_(0.5, 1.5)
        else:
            values.zero_()
    return network.eval()
