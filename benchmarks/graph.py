"""Time a training step of networks built from their description, and of the same networks written by hand.

    python benchmarks/graph.py                      resnet20, resnet18 (32x32), alexnet_cifar, lenet5
    python benchmarks/graph.py resnet20 --rounds 9

Both have the same weights, get the same images as floats, and take the same steps of SGD in the same loop, on a GPU if
there is one. Rounds are interleaved in alternating order; the table shows medians of the rounds, and the median ratio
of neighbours.
"""

import argparse
from collections.abc import Callable
from statistics import median
from time import perf_counter

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from yardsticks import networks

from cnnlab.config.compose import compose, plain
from cnnlab.models.network import Network

GPU = torch.cuda.is_available()
# overrides, shape of an image, handwritten network, images per step, steps per round
CASES: dict[str, tuple[list[str], tuple[int, int, int], Callable[[], nn.Module], int, int]] = {
    "resnet20": (["model=resnet20"], (3, 32, 32), networks.resnet20, 128, 5),
    "resnet18": (
        ["model=resnet18", "model.layers.stem={kernel_size: 3, stride: 1, padding: 1}",
         "model.remove=[maxpool]"],
        (3, 32, 32), networks.resnet18, 32, 2,
    ),
    "alexnet_cifar": (["model=alexnet_cifar"], (3, 32, 32), networks.alexnet_cifar, 128, 5),
    "lenet5": (["model=lenet5"], (1, 28, 28), networks.lenet5, 128, 50),
}  # fmt: skip


def pair(name: str) -> tuple[nn.Module, nn.Module, Tensor, int]:
    """Return both networks with equal weights, checked to compute equal logits, then images and number of steps."""
    overrides, shape, by_hand, images, steps = CASES[name]
    config = plain(compose("train", overrides)[0])
    ours, theirs = Network(config["model"], shape, 10), by_hand()
    values = list(ours.state_dict().values())
    theirs.load_state_dict(dict(zip(theirs.state_dict(), values, strict=True)))
    batch = torch.rand(images, *shape).to(memory_format=torch.channels_last)
    ours, theirs = (network.to(memory_format=torch.channels_last) for network in (ours, theirs))
    torch.testing.assert_close(ours.eval()(batch), theirs.eval()(batch))
    device = torch.device("cuda" if GPU else "cpu")
    return ours.to(device).train(), theirs.to(device).train(), batch.to(device), steps * (10 if GPU else 1)


def seconds(network: nn.Module, images: Tensor, steps: int) -> float:
    """Return the mean seconds of a training step."""
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-4, momentum=0.9)
    labels = torch.arange(len(images), device=images.device) % 10
    if GPU:
        torch.cuda.synchronize()
    started = perf_counter()
    for _ in range(steps):
        optimizer.zero_grad()
        F.cross_entropy(network(images), labels).backward()
        optimizer.step()
    if GPU:
        torch.cuda.synchronize()
    return (perf_counter() - started) / steps


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("cases", nargs="*", default=list(CASES))
    parser.add_argument("--rounds", type=int, default=11)
    args = parser.parse_args()
    place = torch.cuda.get_device_name() if GPU else f"{torch.get_num_threads()} threads"
    print(f"{place}, torch {torch.__version__}\n")
    print("| network | images | described, ms | by hand, ms | ratio |\n|---|---|---|---|---|")
    for name in args.cases:
        ours, theirs, images, steps = pair(name)
        times: list[list[float]] = [[], []]
        for number in range(args.rounds + 1):
            for which in (0, 1) if number % 2 else (1, 0):
                times[which].append(1000 * seconds((ours, theirs)[which], images, steps))
        ours_ms, theirs_ms = (values[1:] for values in times)  # the first warms up
        ratio = median(a / b for a, b in zip(ours_ms, theirs_ms, strict=True))
        print(f"| {name} | {len(images)} | {median(ours_ms):.1f} | {median(theirs_ms):.1f} | {ratio:.3f} |", flush=True)


if __name__ == "__main__":
    main()
