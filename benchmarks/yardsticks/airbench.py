"""The recipe of experiment=cifar10_speedrun by hand, after airbench94 (Jordan 2024), in plain PyTorch."""

import time
from math import cos, pi

import torch
import torch.nn.functional as F
from torch import Tensor, nn

EPS, BATCH = 5e-4, 512
LR, MOMENTUM, DECAY, LR_OTHERS = 0.1, 0.6, 0.1, 0.02  # of Muon, and of AdamW for biases and norms
START, PEAK, FINAL = 0.5, 0.05, 0.07  # of the learning rates
EVERY, KEPT = 5, 0.774  # of lookahead: steps, and the share that its average keeps of itself in the end


def network() -> nn.Sequential:
    def block(i: int, o: int, pool: int) -> list[nn.Module]:
        first, second = nn.Conv2d(i, o, 3, padding=1, bias=False), nn.Conv2d(o, o, 3, padding=1, bias=False)
        for conv in (first, second):
            nn.init.dirac_(conv.weight.data[: conv.in_channels])
        return [
            first, nn.MaxPool2d(pool), nn.BatchNorm2d(o, momentum=0.4), nn.GELU(),
            second, nn.BatchNorm2d(o, momentum=0.4), nn.GELU(),
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


def matrix(weight: Tensor) -> Tensor:
    """(outputs, the rest), in the same memory where channels come last."""
    return weight.permute(0, 2, 3, 1).reshape(len(weight), -1) if weight.ndim == 4 else weight


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
    state = [t.detach() for t in (*net.parameters(), *net.buffers()) if t.is_floating_point()]
    average = [t.clone() for t in state]
    trained = [p for p in net.parameters() if p.requires_grad]
    weights, others = ([p for p in trained if (p.ndim > 1) == wanted] for wanted in (True, False))
    matrices = [matrix(p.detach()) for p in weights]
    muon = torch.optim.Muon(matrices, lr=LR, momentum=MOMENTUM, weight_decay=DECAY)
    adamw = torch.optim.AdamW(others, lr=LR_OTHERS, betas=(0.9, 0.95), weight_decay=0.0)
    steps = epochs * (len(images) // BATCH)

    def factor(step: int) -> float:
        share = step / steps
        a, b, part = (START, 1.0, share / PEAK) if share < PEAK else (1.0, FINAL, (share - PEAK) / (1 - PEAK))
        return b + (a - b) * (1 + cos(pi * part)) / 2

    schedules = [torch.optim.lr_scheduler.LambdaLR(optimizer, factor) for optimizer in (muon, adamw)]
    turn = torch.randint(2, (len(images),), device=images.device)
    step = 0
    for epoch in range(epochs):
        order = torch.randperm(len(images), device=images.device)
        for index in order.split(BATCH)[: len(images) // BATCH]:
            batch = images[index]
            batch = torch.where(((turn[index] + epoch) % 2 == 0).view(-1, 1, 1, 1), batch.flip(-1), batch)
            with torch.autocast(device, dtype, enabled=dtype != torch.float32):
                logits = net(floats(crop(batch.float())))
            loss = F.cross_entropy(0.111 * logits.float(), labels[index], label_smoothing=0.2)
            net.zero_grad()
            loss.backward()
            for flat, weight in zip(matrices, weights, strict=True):
                flat.grad = matrix(weight.grad)
            muon.step()
            adamw.step()
            for schedule in schedules:
                schedule.step()
            step += 1
            if step % EVERY == 0:
                for slow, fast in zip(average, state, strict=True):
                    fast.copy_(slow.lerp_(fast, 1 - KEPT * (step / steps) ** 3))
    if device == "cuda":
        torch.cuda.synchronize()
    seconds = time.perf_counter() - started
    with torch.inference_mode():
        for slow, fast in zip(average, state, strict=True):
            fast.copy_(slow)
        net.eval()
        right = 0
        for part, answers in zip(test.split(500), test_labels.split(500), strict=True):
            padded = F.pad(floats(part), (1,) * 4, "reflect")
            views = [padded[..., i : i + 32, i : i + 32] for i in (0, 1, 2)]
            with torch.autocast(device, dtype, enabled=dtype != torch.float32):
                logits = sum(net(view).float() for seen in views for view in (seen, seen.flip(-1)))
            right += int((logits.argmax(1) == answers).sum())
    return seconds, right / len(test)
