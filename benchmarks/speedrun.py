"""Time training on CIFAR-10 with experiment=cifar10_speedrun, and the same recipe in plain PyTorch.

    python benchmarks/speedrun.py     on a GPU ten runs of ten epochs; on a CPU one run of one, which takes minutes

Both train on the same images, without the validation images; seconds leave out imports, loading and the test, and
include cnnlab's validation at the end.
"""

import argparse
import contextlib
import io
import tempfile
from pathlib import Path
from statistics import mean, stdev

import torch
from yardsticks import airbench

from cnnlab.config.compose import compose, plain
from cnnlab.device import resolve_precision
from cnnlab.training.datamodule import DataModule
from cnnlab.training.run import train


def spread(values: list[float], digits: int) -> str:
    std = f" ± {stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{mean(values):.{digits}f}{std}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    gpu = torch.cuda.is_available()
    parser.add_argument("--epochs", type=int, default=10 if gpu else 1)
    parser.add_argument("--runs", type=int, default=10 if gpu else 1)
    args = parser.parse_args()
    overrides = ["experiment=cifar10_speedrun", f"trainer={'gpu' if gpu else 'cpu'}", f"data.epochs={args.epochs}"]
    config = plain(compose("train", overrides)[0])
    precision = resolve_precision(config["precision"], config["trainer"]["accelerator"])
    data = DataModule(config["data"])
    data.setup()
    device = torch.device("cuda" if gpu else "cpu")
    tensors = [t.to(device) for part in (data.train, data.test) for t in (part.inputs, part.labels)]
    results = {"cnnlab": [], "plain PyTorch": []}
    for seed in range(args.runs):
        with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
            metrics = train({**config, "seed": seed}, Path(folder))
        results["cnnlab"].append((metrics["fit_seconds"], metrics["test/acc"]))
        torch.manual_seed(seed)
        dtype = torch.bfloat16 if precision == "bf16-mixed" else torch.float32
        results["plain PyTorch"].append(airbench.train(*tensors, args.epochs, dtype))
    place = torch.cuda.get_device_name() if gpu else f"{torch.get_num_threads()} CPU threads"
    print(f"{place}, torch {torch.__version__}, {precision}, {args.epochs} epochs, {args.runs} runs\n")
    print("| | seconds | test accuracy, % |\n| --- | --- | --- |")
    for name, runs in results.items():
        seconds, accuracies = zip(*runs, strict=True)
        print(f"| {name} | {spread(list(seconds), 2)} | {spread([100 * a for a in accuracies], 2)} |")
    ours, theirs = (mean(s for s, _ in runs) for runs in results.values())
    print(f"\ncnnlab takes {ours / theirs:.2f} times the plain version")


if __name__ == "__main__":
    main()
