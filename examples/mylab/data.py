"""A data source and an augmentation."""

from collections.abc import Mapping
from math import pi
from typing import Any

import torch
from torch import Generator, Tensor

from cnnlab.data.augment import AUGMENTATIONS
from cnnlab.data.examples import Examples, Splits
from cnnlab.data.sources import SOURCES, Source

CLASSES = ["flat", "rising", "upright", "falling"]


def draw(count: int, size: int, seed: int) -> Examples:
    """Draw noisy stripes in four directions, at random places and widths."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(len(CLASSES), (count,), generator=generator)
    angle = labels * (pi / len(CLASSES))
    width, place = torch.rand(2, count, 1, 1, generator=generator)
    rows, columns = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    across = rows * angle.cos().view(-1, 1, 1) + columns * angle.sin().view(-1, 1, 1)
    waves = torch.sin(across * (0.8 + 0.8 * width) + 2 * pi * place)
    noisy = 128 + 60 * waves + 60 * torch.randn(waves.shape, generator=generator)
    return Examples(noisy.clamp(0, 255).to(torch.uint8)[:, None], labels)


def load(config: Mapping[str, Any]) -> Splits:
    """Draw what `conf/data/stripes.yaml` asks for."""
    train, test = (draw(config[key], config["size"], seed) for seed, key in enumerate(("train_size", "test_size")))
    return Splits(CLASSES, train, test)


def facts(config: Mapping[str, Any]) -> tuple[tuple[int, int, int], int]:
    """Return the shape of an image and the number of classes, without drawing any."""
    return (1, config["size"], config["size"]), len(CLASSES)


def noise(images: Tensor, generator: Generator, amount: float = 10.0) -> Tensor:
    """Add Gaussian noise of a standard deviation, out of 255."""
    added = amount * torch.randn(images.shape, generator=generator, device=images.device)
    return (images + added).clamp(0, 255).to(torch.uint8)


SOURCES["stripes"] = Source(load, facts)  # data=stripes, with conf/data/stripes.yaml
AUGMENTATIONS["noise"] = noise  # augment=noise, with conf/augment/noise.yaml; or '+augment.noise={amount: 20}'
