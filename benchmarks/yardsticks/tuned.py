"""The best loop we know: channels last, a fused optimizer, bfloat16 where it helps, nothing looked at on the way."""

import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def epoch(
    network: Callable[[], nn.Module], images: Tensor, labels: Tensor, batch_size: int, dtype: torch.dtype
) -> float:
    """Seconds of one epoch, after five steps that are not timed."""
    net = network().to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9, nesterov=True, fused=True)
    mean, std = images[:1000].float().mean(), images[:1000].float().std()

    def step(index: Tensor) -> None:
        optimizer.zero_grad()
        batch = images[index].to(torch.float32, memory_format=torch.channels_last).sub_(mean).div_(std)
        with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
            loss = F.cross_entropy(net(batch), labels[index])
        loss.backward()
        optimizer.step()

    for index in torch.randperm(len(images)).split(batch_size)[:5]:
        step(index)
    started = time.perf_counter()
    for index in torch.randperm(len(images)).split(batch_size):
        step(index)
    return time.perf_counter() - started


@torch.inference_mode()
def evaluation(network: Callable[[], nn.Module], images: Tensor, batch_size: int) -> float:
    """Seconds to classify all images."""
    net = network().eval().to(memory_format=torch.channels_last)
    mean, std = images[:1000].float().mean(), images[:1000].float().std()
    started = time.perf_counter()
    for part in images.split(batch_size):
        net(part.to(torch.float32, memory_format=torch.channels_last).sub_(mean).div_(std)).argmax(1)
    return time.perf_counter() - started
