"""The loop most people write on tensors in memory: contiguous float32, SGD with momentum."""

import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def epoch(network: Callable[[], nn.Module], images: Tensor, labels: Tensor, batch_size: int) -> float:
    """Seconds of one epoch, after five steps that are not timed."""
    net = network()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9, nesterov=True)
    mean, std = images[:1000].float().mean() / 255, images[:1000].float().std() / 255

    def step(index: Tensor) -> None:
        optimizer.zero_grad()
        loss = F.cross_entropy(net((images[index].float() / 255 - mean) / std), labels[index])
        loss.backward()
        optimizer.step()

    for index in torch.randperm(len(images)).split(batch_size)[:5]:
        step(index)
    started = time.perf_counter()
    for index in torch.randperm(len(images)).split(batch_size):
        step(index)
    return time.perf_counter() - started
