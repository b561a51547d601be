"""Plain PyTorch training loops on tensors in memory, written by hand: what cnnlab is measured against."""

import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def lenet5() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), nn.Tanh(), nn.AvgPool2d(2),
        nn.Conv2d(6, 16, 5), nn.Tanh(), nn.AvgPool2d(2),
        nn.Flatten(), nn.Linear(400, 120), nn.Tanh(), nn.Linear(120, 84), nn.Tanh(), nn.Linear(84, 10),
    )  # fmt: skip


def alexnet_cifar() -> nn.Module:
    def conv(i: int, o: int, k: int) -> list[nn.Module]:
        return [nn.Conv2d(i, o, k, padding=k // 2), nn.BatchNorm2d(o), nn.ReLU()]

    def dense(i: int, o: int) -> list[nn.Module]:
        return [nn.Linear(i, o), nn.BatchNorm1d(o), nn.ReLU()]

    def pool() -> nn.Module:
        return nn.MaxPool2d(3, 2, 1)

    return nn.Sequential(
        *conv(3, 32, 5), pool(), *conv(32, 96, 3), pool(), *conv(96, 160, 3), *conv(160, 160, 3), *conv(160, 128, 3),
        pool(), nn.Flatten(), *dense(2048, 256), *dense(256, 256), nn.Linear(256, 10),
    )  # fmt: skip


def plain_epoch(network: Callable[[], nn.Module], images: Tensor, labels: Tensor, batch_size: int) -> float:
    """Seconds of one epoch of the loop most people write: contiguous float32 tensors, SGD with momentum."""
    net = network()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9, nesterov=True)
    mean, std = images[:1000].float().mean() / 255, images[:1000].float().std() / 255
    return _epoch(net, optimizer, lambda x: (x.float() / 255 - mean) / std, images, labels, batch_size, torch.float32)


def tuned_epoch(
    network: Callable[[], nn.Module], images: Tensor, labels: Tensor, batch_size: int, dtype: torch.dtype
) -> float:
    """Seconds of one epoch of the best loop known here: channels last, fused optimizer, bfloat16 where it helps."""
    net = network().to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9, nesterov=True, fused=True)
    mean, std = images[:1000].float().mean(), images[:1000].float().std()

    def prepare(x: Tensor) -> Tensor:
        return x.to(torch.float32, memory_format=torch.channels_last).sub_(mean).div_(std)

    return _epoch(net, optimizer, prepare, images, labels, batch_size, dtype)


def _epoch(
    net: nn.Module,
    optimizer: torch.optim.Optimizer,
    prepare: Callable[[Tensor], Tensor],
    images: Tensor,
    labels: Tensor,
    batch_size: int,
    dtype: torch.dtype,
) -> float:
    def step(index: Tensor) -> None:
        optimizer.zero_grad()
        with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
            loss = F.cross_entropy(net(prepare(images[index])), labels[index])
        loss.backward()
        optimizer.step()

    for index in torch.randperm(len(images)).split(batch_size)[:5]:  # not timed
        step(index)
    started = time.perf_counter()
    for index in torch.randperm(len(images)).split(batch_size):
        step(index)
    return time.perf_counter() - started
