"""Estimate the duration of a study's runs, and find the width that gives a variant the baseline's capacity."""

from collections.abc import Mapping, Sequence
from math import log
from time import perf_counter
from typing import Any

import torch

from cnnlab.config.identity import Config, digest
from cnnlab.data.load import facts
from cnnlab.data.splits import sizes
from cnnlab.device import best_device, resolve_precision
from cnnlab.models.network import Network
from cnnlab.training.assemble import meta_network

MEASURES = ("params", "macs")  # of capacity, choices of `study.match`
MATCHED = 0.02  # largest relative difference between a variant's capacity and the baseline's
WIDTHS = (0.02, 50.0)  # range that is searched for a width
BATCHES = {"train": "batch_size", "val": "eval_batch_size", "test": "eval_batch_size"}  # keys of the data config
TIMED_MACS = 2e10  # largest number of multiply-adds of a timed step
TIMING = 2.0  # seconds of timing after which only networks of clearly another size are timed


def width_for(config: Mapping[str, Any], measure: str, wanted: int) -> float:
    """Find the `model.width` at which a network has the wanted number of `params` or `macs`, within 2 %.

    Raises:
        ValueError: there is no such width; the message tells how far the nearest is off.
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


class Estimates:
    """Estimate the duration of runs from a few timed steps of each network on random examples.

    A network is timed once. After TIMING seconds of timing, the time of one whose multiply-adds are within a factor of
    two is scaled instead, so that a study of 200 networks is planned in seconds, too.
    """

    def __init__(self) -> None:
        # by data and device, then by network: macs, seconds per example
        self._timed: dict[tuple[Any, ...], dict[str, tuple[int, float]]] = {}
        self._spent = 0.0

    def seconds(self, config: Config, macs: int) -> float:
        """Return the seconds that one run would take: those per example, times the examples it would see."""
        train, val, test = (
            limited(count, config["trainer"].get(f"limit_{split}_batches"), config["data"][batch])
            for (split, batch), count in zip(BATCHES.items(), sizes(config["data"]), strict=True)
        )
        macs = max(macs, 1)
        batch = max(1, min(config["data"]["batch_size"], train, int(TIMED_MACS / macs)))
        accelerator = config["trainer"]["accelerator"]
        device = torch.device("cpu" if accelerator == "cpu" else best_device())
        half = resolve_precision(config["precision"], accelerator) == "bf16-mixed"
        data_facts = facts(config["data"])
        timed = self._timed.setdefault((data_facts, batch, device, half), {})
        structure = digest(config["model"])
        near = [t for t in timed.values() if macs / 2 <= t[0] <= 2 * macs] if self._spent > TIMING else []
        if structure not in timed and near:
            closest, taken = min(near, key=lambda t: abs(log(t[0] / macs)))
            timed[structure] = macs, taken * macs / closest
        elif structure not in timed:
            started = perf_counter()
            halves = [] if data_facts.vocabulary else [0.5] * data_facts.shape[0]
            network = Network(config["model"], *data_facts, mean=halves, std=halves)
            timed[structure] = macs, step_seconds(network, batch, device, half) / batch
            self._spent += perf_counter() - started
        epochs: int = config["trainer"]["max_epochs"]
        return timed[structure][1] * (train * epochs + (val * epochs + test) / 3)


def limited(count: int, limit: float | None, batch: int) -> int:
    """Return how many of `count` examples Lightning's `limit_*_batches` leaves: an int in batches, a float a share."""
    if limit is None:
        return count
    return min(count, limit * batch if isinstance(limit, int) else round(limit * count))


def step_seconds(network: Network, batch: int, device: torch.device, half: bool) -> float:
    """Return the seconds of a forward and backward pass: the shortest of three, after one for warming up."""
    network = network.to(device).channels_last()
    inputs = network.example(batch, device)
    times = []
    for _ in range(4):
        started = perf_counter()
        with torch.autocast(device.type, torch.bfloat16, enabled=half):
            loss = network(inputs).float().square().mean()
        loss.backward()
        float(loss.detach())  # waits for a GPU
        times.append(perf_counter() - started)
    return min(times[1:])


def shown_seconds(seconds: float) -> str:
    """Write a duration with its unit."""
    if seconds < 90:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def abbreviate(names: Sequence[str], shown: int = 8) -> str:
    """Join names, the first few of a long list."""
    rest = len(names) - shown
    return "; ".join(names[:shown]) + (f"; and {rest} more" if rest > 0 else "")
