"""Compute lower bounds for the time of a training step on this machine, and profile the tuned loop's step.

    python benchmarks/floor.py

Operations: two for each multiply-add of the forward pass, of the gradient of the weights, and of that of the input of
every layer but the first; divided by the best rate of a large matrix product. Bytes: the output of every layer, norm,
activation and pooling is written and read forward, read once more and its gradient written and read backward; divided
by the bandwidth of a copy that exceeds the caches. Both use the loop's number format and all threads. The loop's
process keeps freed memory for reuse, as cnnlab's does.
"""

from collections import Counter
from time import perf_counter

import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile
from yardsticks import networks
from yardsticks.formats import supported

from cnnlab.config.compose import compose, plain
from cnnlab.data.load import facts
from cnnlab.device import keep_freed
from cnnlab.models.network import Network

BATCH = 128
CASES = {
    "lenet5": (["data=mnist", "model=lenet5"], torch.float32),
    "alexnet_cifar": (["data=cifar10", "model=alexnet_cifar"], torch.bfloat16),
}
KINDS = {  # of operators, by parts of their names
    "convolution": ("convolution",), "dense layers": ("mm",), "pooling": ("pool",), "norm": ("batch_norm",),
    "activation": ("tanh", "relu", "threshold"), "loss": ("softmax", "nll"), "optimizer": ("sgd", "SGD"),
}  # fmt: skip


def best(function, repeats: int = 10) -> float:
    """Return the seconds of the fastest call."""
    times = []
    for _ in range(repeats):
        started = perf_counter()
        function()
        times.append(perf_counter() - started)
    return min(times)


def peak(dtype: torch.dtype, size: int = 2048) -> float:
    """Return the operations per second of a matrix product."""
    a, b = (torch.randn(size, size).to(dtype) for _ in range(2))
    return 2 * size**3 / best(lambda: a @ b)


def bandwidth(size: int = 2**28) -> float:
    """Return the bytes per second, read and written, of a copy."""
    source, target = torch.ones(size, dtype=torch.uint8), torch.empty(size, dtype=torch.uint8)
    return 2 * size / best(lambda: target.copy_(source))


def work(overrides: list[str], dtype: torch.dtype) -> tuple[float, float]:
    """Return the operations and bytes of a step."""
    config = plain(compose("train", overrides)[0])
    shape, classes = facts(config["data"])
    with torch.device("meta"):
        network = Network(config["model"], shape, classes)
        macs = [row.macs for row in network.table]
        values: list[int] = []
        for part in network.modules():
            if not list(part.children()) and not isinstance(part, nn.Flatten | nn.Dropout):
                part.register_forward_hook(lambda module, given, output: values.append(output.numel()))
        network(torch.empty(BATCH, *shape))
    return BATCH * 2 * (3 * sum(macs) - macs[0]), 5 * sum(values) * dtype.itemsize


def steps(case: str, dtype: torch.dtype, count: int) -> float:
    """Return the seconds of a step of the tuned loop, on images already in memory."""
    net = getattr(networks, case)().to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9, nesterov=True, fused=True)
    shape = (1, 28, 28) if case == "lenet5" else (3, 32, 32)
    images = torch.randn(BATCH, *shape).to(memory_format=torch.channels_last)
    labels = torch.randint(10, (BATCH,))

    def step(images: Tensor = images) -> None:
        optimizer.zero_grad()
        with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
            loss = nn.functional.cross_entropy(net(images), labels)
        loss.backward()
        optimizer.step()

    for _ in range(5):
        step()
    started = perf_counter()
    for _ in range(count):
        step()
    return (perf_counter() - started) / count


def shares(case: str, dtype: torch.dtype) -> dict[str, float]:
    """Return shares of a step's time by kind of operator; the rest is Python, dispatch and small operators."""
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        steps(case, dtype, 20)
    times: Counter[str] = Counter()
    for event in profiled.key_averages():
        kind = next((kind for kind, names in KINDS.items() if any(n in event.key for n in names)), "the rest")
        times[kind] += event.self_cpu_time_total
    total = sum(times.values())
    return {kind: times[kind] / total for kind in (*KINDS, "the rest")}


def main() -> None:
    keep_freed()
    torch.ones(2**27)  # frees half a GiB for reuse, so that the profiler's records cause no page faults in the step
    rate = bandwidth()
    print(f"{torch.get_num_threads()} threads, torch {torch.__version__}; copying: {rate / 1e9:.0f} GB/s\n")
    print("| | peak, Gop/s | operations of a step | at peak, ms | bytes | at copying, ms | tuned step, ms |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    parts = {}
    for case, (overrides, dtype) in CASES.items():
        dtype = supported(dtype)
        fastest, (operations, moved) = peak(dtype), work(overrides, dtype)
        taken = min(steps(case, dtype, 20) for _ in range(5))
        parts[f"{case}, {str(dtype).removeprefix('torch.')}"] = shares(case, dtype)
        print(
            f"| {case} | {fastest / 1e9:.0f} | {operations / 1e6:,.0f} M | {1e3 * operations / fastest:.1f} "
            f"| {moved / 1e6:.0f} MB | {1e3 * moved / rate:.1f} | {1e3 * taken:.1f} |"
        )
    print("\n| share of the step, % | " + " | ".join((*KINDS, "the rest")) + " |\n|" + " --- |" * (len(KINDS) + 2))
    for case, times in parts.items():
        print(f"| {case} | " + " | ".join(f"{100 * share:.0f}" for share in times.values()) + " |")


if __name__ == "__main__":
    main()
