"""Measure a plain loop in a process that keeps freed memory for reuse, as cnnlab's do, and in one that does not.

python benchmarks/memory.py
"""

import json
import resource
import subprocess
import sys
from statistics import median
from time import perf_counter

import torch
from torch import nn
from yardsticks.formats import supported

from cnnlab.config.compose import compose, plain
from cnnlab.device import keep_freed
from cnnlab.models.network import Network

ROUNDS = 3
CASES = {  # shape of an image, images per batch, number format, steps
    "lenet5": ((1, 28, 28), 128, torch.float32, 200),
    "alexnet_cifar": ((3, 32, 32), 128, torch.bfloat16, 20),
    "alexnet": ((3, 227, 227), 64, torch.bfloat16, 8),
}


def faults() -> int:
    """Return the page faults of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


def measured(case: str) -> dict[str, float]:
    """Return page faults and milliseconds of the median step, and peak memory of this process in MiB."""
    shape, size, dtype, count = CASES[case]
    dtype = supported(dtype)
    model = plain(compose("train", [f"model={case}"])[0])["model"]
    net = Network(model, shape, 10, mean=[0.5] * shape[0], std=[0.5] * shape[0]).to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9, fused=True)
    images, labels = torch.randint(256, (size, *shape), dtype=torch.uint8), torch.randint(10, (size,))
    steps = []
    for _ in range(count + count // 4):
        before, started = faults(), perf_counter()
        optimizer.zero_grad()
        with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
            loss = nn.functional.cross_entropy(net(images), labels)
        loss.backward()
        optimizer.step()
        steps.append((faults() - before, 1e3 * (perf_counter() - started)))
    page_faults, milliseconds = (median(values) for values in zip(*steps[count // 4 :], strict=True))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"faults": page_faults, "ms": milliseconds, "MiB": peak}


def alone(case: str, *keep: str) -> dict[str, float]:
    """Return the same, measured in a new process."""
    command = [sys.executable, __file__, case, *keep]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def main() -> None:
    if len(sys.argv) > 1:
        if "keep" in sys.argv:
            keep_freed()
        print(json.dumps(measured(sys.argv[1])))
        return
    print("| | page faults of a step | ms | kept: page faults | ms | kept takes | peak memory, MiB | kept |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for case in CASES:
        rounds = [(alone(case), alone(case, "keep")) for _ in range(ROUNDS)]
        usual, kept = ({key: median(r[i][key] for r in rounds) for key in rounds[0][0]} for i in (0, 1))
        ratio = median(b["ms"] / a["ms"] for a, b in rounds)
        print(
            f"| {case} | {usual['faults']:,.0f} | {usual['ms']:,.1f} | {kept['faults']:,.0f} | {kept['ms']:,.1f} "
            f"| {ratio:.2f} times | {usual['MiB']:,.0f} | {kept['MiB']:,.0f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
