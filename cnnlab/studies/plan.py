"""A study on paper: its variants, what each would cost, whether each can be built, and which runs it is made of."""

from collections.abc import Mapping
from time import perf_counter
from typing import Any

import torch

from cnnlab.config.identity import Config
from cnnlab.data.load import facts
from cnnlab.data.splits import sizes
from cnnlab.device import best_device, resolve_precision
from cnnlab.models.network import Network
from cnnlab.training.assemble import meta_network

MEASURES = ("params", "macs")  # of capacity, for twins
MATCHED = 0.02  # how far a twin's capacity may be from the baseline's
WIDTHS = (0.02, 50.0)  # where a twin's width is looked for
TIMED_MACS = 2e10  # multiply-adds of a timed step, at most


def width_for(config: Mapping[str, Any], measure: str, wanted: int) -> float:
    """The `model.width` at which a network has as many `params`, or does as many `macs`, as wanted, within 2 %.

    Raises:
        ValueError: no width does; the message says how near the nearest comes.
    """

    def size(width: float) -> int:
        return int(getattr(meta_network({**config, "model": {**config["model"], "width": width}}), measure))

    low, high = WIDTHS
    for _ in range(40):  # sizes rise in steps with the width
        middle = (low * high) ** 0.5
        low, high = (middle, high) if size(middle) < wanted else (low, middle)
    nearest = min((low, high), key=lambda width: abs(size(width) / wanted - 1))
    off = size(nearest) / wanted - 1
    if abs(off) > MATCHED:
        raise ValueError(f"study.match={measure}: no model.width comes nearer than {off:+.1%} to the baseline's")
    return round(nearest, 6)


def estimate(config: Config, macs: int) -> float:
    """Seconds one run would take, from a few timed steps on random images, and as many images as it would see."""
    train, val, test = sizes(config["data"])
    limit = config["trainer"].get("limit_train_batches")  # Lightning's: a whole number of batches, or a share of them
    if limit is not None:
        train = min(train, limit * config["data"]["batch_size"] if isinstance(limit, int) else round(limit * train))
    batch = max(1, min(config["data"]["batch_size"], train, int(TIMED_MACS / max(macs, 1))))
    accelerator = config["trainer"]["accelerator"]
    device = torch.device("cpu" if accelerator == "cpu" else best_device())
    half = resolve_precision(config["precision"], accelerator) == "bf16-mixed"
    shape, classes = facts(config["data"])
    network = Network(config["model"], shape, classes, mean=[0.5] * shape[0], std=[0.5] * shape[0])
    network = network.to(device).to(memory_format=torch.channels_last)
    images = torch.randint(0, 256, (batch, *shape), dtype=torch.uint8, device=device)
    times = []
    for _ in range(4):
        started = perf_counter()
        with torch.autocast(device.type, torch.bfloat16, enabled=half):
            loss = network(images).float().square().mean()
        loss.backward()
        float(loss.detach())  # waits for a GPU
        times.append(perf_counter() - started)
    per_image: float = min(times[1:]) / batch
    epochs: int = config["trainer"]["max_epochs"]
    return per_image * (train * epochs + (val * epochs + test) / 3)


def shown_seconds(seconds: float) -> str:
    """A duration as people say it."""
    if seconds < 90:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
