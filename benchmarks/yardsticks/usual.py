"""The pipeline of most tutorials: torchvision's dataset, a transform for each image, DataLoader workers."""

import time
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, Subset
from torchvision import transforms


def epoch(
    network: Callable[[], nn.Module], dataset: Callable[..., Any], augment: list[Any], count: int, batch_size: int
) -> float:
    """Seconds of one epoch over `count` images, starting the workers included."""
    transform = transforms.Compose([*augment, transforms.ToTensor(), transforms.Normalize(0.5, 0.5)])
    loader = DataLoader(Subset(dataset(transform=transform), range(count)), batch_size, shuffle=True, num_workers=2)
    net = network()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9, nesterov=True)
    started = time.perf_counter()
    for images, labels in loader:
        optimizer.zero_grad()
        F.cross_entropy(net(images), labels).backward()
        optimizer.step()
    return time.perf_counter() - started
