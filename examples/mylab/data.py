"""Add a data source and an augmentation."""

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
    """Generate images of noisy stripes in four directions, with random phase and width."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(len(CLASSES), (count,), generator=generator)
    angle = labels * (pi / len(CLASSES))
    width, phase = torch.rand(2, count, 1, 1, generator=generator)
    rows, columns = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    across = rows * angle.cos().view(-1, 1, 1) + columns * angle.sin().view(-1, 1, 1)
    waves = torch.sin(across * (0.8 + 0.8 * width) + 2 * pi * phase)
    noisy = 128 + 60 * waves + 60 * torch.randn(waves.shape, generator=generator)
    return Examples(noisy.clamp(0, 255).to(torch.uint8)[:, None], labels)


def load(config: Mapping[str, Any]) -> Splits:
    """Generate the training and test images of a data config, `conf/data/stripes.yaml`."""
    train, test = (draw(config[key], config["size"], seed) for seed, key in enumerate(("train_size", "test_size")))
    return Splits(CLASSES, train, test)


def facts(config: Mapping[str, Any]) -> tuple[tuple[int, int, int], int]:
    """Return the shape of an image and the number of classes, without generating any."""
    return (1, config["size"], config["size"]), len(CLASSES)


def noise(images: Tensor, generator: Generator, amount: float = 10.0) -> Tensor:
    """Add Gaussian noise, `amount` its standard deviation on the scale 0 to 255."""
    added = amount * torch.randn(images.shape, generator=generator, device=images.device)
    return (images + added).clamp(0, 255).to(torch.uint8)


SOURCES["stripes"] = Source(load, facts)  # data=stripes, with conf/data/stripes.yaml
AUGMENTATIONS["noise"] = noise  # augment=noise, with conf/augment/noise.yaml; or '+augment.noise={amount: 20}'
