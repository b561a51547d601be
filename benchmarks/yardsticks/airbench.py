"""The recipe of experiment=cifar10_speedrun by hand, after airbench94 (Jordan 2024), in plain PyTorch."""

import time
from math import cos, pi

import torch
import torch.nn.functional as F
from torch import Tensor, nn

EPS, BATCH = 5e-4, 512
START, PEAK, FINAL = 0.2, 0.23, 0.07  # of the learning rate


def network() -> nn.Sequential:
    def block(i: int, o: int, pool: int) -> list[nn.Module]:
        first, second = nn.Conv2d(i, o, 3, padding=1, bias=False), nn.Conv2d(o, o, 3, padding=1, bias=False)
        for conv in (first, second):
            nn.init.dirac_(conv.weight.data[: conv.in_channels])
        return [
            first, nn.MaxPool2d(pool), nn.BatchNorm2d(o), nn.GELU(), second, nn.BatchNorm2d(o), nn.GELU(),
        ]  # fmt: skip

    return nn.Sequential(
        nn.Conv2d(3, 24, 2), nn.GELU(), *block(24, 64, 2), *block(64, 256, 2), *block(256, 256, 2),
        nn.MaxPool2d(3), nn.Flatten(), nn.Linear(256, 10, bias=False),
    )  # fmt: skip


def whiten(conv: nn.Conv2d, images: Tensor) -> None:
    patches = F.unfold(images, 2).transpose(1, 2).flatten(0, 1)
    patches = patches - patches.mean(0)
    values, vectors = torch.linalg.eigh(patches.T @ patches / len(patches))
    filters = (vectors / (values + EPS).sqrt()).T.flip(0).view(-1, 3, 2, 2)
    conv.weight.data = torch.cat([filters, -filters])
    conv.weight.requires_grad_(False)
    conv.bias.data.zero_()


def crop(images: Tensor, pad: int = 2) -> Tensor:
    padded = F.pad(images, (pad,) * 4, "reflect")
    windows = padded.unfold(2, 32, 1).unfold(3, 32, 1)
    y, x = torch.randint(2 * pad + 1, (2, len(images)), device=images.device)
    return windows[torch.arange(len(images), device=images.device), :, y, x]


def train(
    images: Tensor, labels: Tensor, test: Tensor, test_labels: Tensor, epochs: int, dtype: torch.dtype
) -> tuple[float, float]:
    """Seconds of the training, and accuracy on the test images.

    Args:
        images, test: bytes (N, 3, 32, 32), on the device that trains.
    """
    device = images.device.type
    mean = images.float().mean((0, 2, 3), keepdim=True)
    std = images.float().std((0, 2, 3), keepdim=True)

    def floats(part: Tensor) -> Tensor:
        return part.to(torch.float32, memory_format=torch.channels_last).sub_(mean).div_(std)

    started = time.perf_counter()
    net = network()
    whiten(net[0], floats(images[:5000]).cpu())
    net = net.to(images.device, memory_format=torch.channels_last)
    average = [p.detach().clone() for p in (*net.parameters(), *net.buffers())]
    weights, others = ([p for p in net.parameters() if p.requires_grad and (p.ndim > 1) == w] for w in (True, False))
    groups = [{"params": weights, "weight_decay": 0.0013}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.SGD(groups, lr=1.0, momentum=0.85, nesterov=True, fused=True)
    steps = epochs * (len(images) // BATCH)

    def factor(step: int) -> float:
        share = step / steps
        a, b, part = (START, 1.0, share / PEAK) if share < PEAK else (1.0, FINAL, (share - PEAK) / (1 - PEAK))
        return b + (a - b) * (1 + cos(pi * part)) / 2

    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
    turn = torch.randint(2, (len(images),), device=images.device)
    for epoch in range(epochs):
        order = torch.randperm(len(images), device=images.device)
        for index in order.split(BATCH)[: len(images) // BATCH]:
            batch = images[index]
            batch = torch.where(((turn[index] + epoch) % 2 == 0).view(-1, 1, 1, 1), batch.flip(-1), batch)
            with torch.autocast(device, dtype, enabled=dtype != torch.float32):
                logits = net(floats(crop(batch.float())))
            loss = F.cross_entropy(0.111 * logits.float(), labels[index], label_smoothing=0.2)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            with torch.no_grad():
                for mean_value, value in zip(average, (*net.parameters(), *net.buffers()), strict=True):
                    mean_value.lerp_(value, 0.05) if value.is_floating_point() else mean_value.copy_(value)
    if device == "cuda":
        torch.cuda.synchronize()
    seconds = time.perf_counter() - started
    with torch.inference_mode():
        for mean_value, value in zip(average, (*net.parameters(), *net.buffers()), strict=True):
            value.copy_(mean_value)
        net.eval()
        right = 0
        for part, answers in zip(test.split(500), test_labels.split(500), strict=True):
            with torch.autocast(device, dtype, enabled=dtype != torch.float32):
                logits = net(floats(part)).float() + net(floats(part.flip(-1))).float()
            right += int((logits.argmax(1) == answers).sum())
    return seconds, right / len(test)
