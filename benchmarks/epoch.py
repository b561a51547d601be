"""Time a training epoch of cnnlab.train with all defaults, and of plain PyTorch loops on the same images and threads.

    python benchmarks/epoch.py                  LeNet-5 on MNIST
    python benchmarks/epoch.py alexnet_cifar    alexnet_cifar on CIFAR-10, a fifth of an epoch; cnnlab flips, crops and
                                                cuts out, the usual pipeline flips and crops, the others do neither

Rounds are interleaved, so that a busy machine slows all of them; each time and peak memory is that of a separate
process. The table shows medians and ratios. cnnlab's time is the median of three epochs, which leaves out compilation.
Memory kept: the loop's process keeps freed memory for reuse, as cnnlab's does.
"""

import argparse
import contextlib
import io
import json
import os
import resource
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from statistics import median

import torch
from torchvision import datasets, transforms
from yardsticks import networks, plain, tuned, usual
from yardsticks.formats import supported

from cnnlab.config.compose import compose
from cnnlab.config.compose import plain as containers
from cnnlab.device import keep_freed
from cnnlab.trained.run import Run
from cnnlab.training.datamodule import DataModule
from cnnlab.training.run import train

CASES = {
    "lenet5": (["data=mnist", "model=lenet5", "precision=32-true"], torch.float32),
    # a fifth of an epoch, which takes minutes
    "alexnet_cifar": (
        [
            "data=cifar10",
            "model=alexnet_cifar",
            "precision=auto",
            "augment=flip_crop_cutout",
            "+trainer.limit_train_batches=70",
        ],
        torch.bfloat16,
    ),
}
EPOCHS = 3  # of each fit; the rate in metrics.json is that of the median epoch


def cnnlab_epoch(overrides: list[str], images: int) -> float:
    with tempfile.TemporaryDirectory() as folder:
        config, _ = compose("train", [*overrides, "optimizer=sgd", "trainer=cpu", f"trainer.max_epochs={EPOCHS}"])
        with contextlib.redirect_stdout(io.StringIO()):
            train(containers(config), Path(folder))
        return images / Run.load(folder).metrics["train_images_per_second"]


def measures(case: str) -> dict:
    """Return functions that measure the seconds of an epoch, by name."""
    overrides, dtype = CASES[case]
    dtype = supported(dtype)
    config, _ = compose("train", overrides)
    data = DataModule(containers(config)["data"])
    data.setup()
    size, steps = containers(config)["data"]["batch_size"], containers(config)["trainer"].get("limit_train_batches")
    share = slice(size * steps if steps else None)
    images, labels = data.train.inputs[share], data.train.labels[share]
    network = getattr(networks, case)
    folder = containers(config)["data_dir"]
    dataset, augment = {
        "lenet5": (partial(datasets.MNIST, folder), []),
        "alexnet_cifar": (
            partial(datasets.CIFAR10, folder),
            [transforms.RandomHorizontalFlip(), transforms.RandomCrop(32, 4, padding_mode="reflect")],
        ),
    }[case]
    return {
        "cnnlab": lambda: cnnlab_epoch(overrides, len(images)),
        "cnnlab, compile=true": lambda: cnnlab_epoch([*overrides, "compile=true"], len(images)),
        "plain loop": lambda: plain.epoch(network, images, labels, size),
        "tuned loop": lambda: tuned.epoch(network, images, labels, size, dtype),
        "tuned loop, memory kept": lambda: keep_freed() or tuned.epoch(network, images, labels, size, dtype),
        "usual pipeline": lambda: usual.epoch(network, dataset, augment, len(images), size),
    }


def alone(case: str, name: str) -> tuple[float, int]:
    """Return seconds of an epoch and peak memory in MiB, measured in a new process."""
    command = [sys.executable, __file__, case, "--only", name]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    seconds, peak = json.loads(printed.splitlines()[-1])
    return seconds, peak


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("case", nargs="?", choices=CASES, default="lenet5")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", help=argparse.SUPPRESS)
    args = parser.parse_args()
    runs = measures(args.case)
    if args.only:
        seconds = runs[args.only]()
        print(json.dumps([seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024]))
        return
    rounds = [{name: alone(args.case, name) for name in runs} for _ in range(args.rounds)]
    print(
        f"{args.case}, one epoch, {args.rounds} interleaved rounds, "
        f"{torch.get_num_threads()} threads, torch {torch.__version__}\n"
    )
    print("| | seconds (min - max) | cnnlab takes | peak memory, MiB | cnnlab takes |\n| --- | --- | --- | --- | --- |")
    for name in runs:
        seconds, peaks = zip(*(each[name] for each in rounds), strict=True)
        time, memory = (median(each["cnnlab"][i] / each[name][i] for each in rounds) for i in (0, 1))
        span = f"{median(seconds):.2f} ({min(seconds):.2f} - {max(seconds):.2f})"
        print(f"| {name} | {span} | {time:.2f} times | {median(peaks):.0f} | {memory:.2f} times |")


if __name__ == "__main__":
    os.environ.setdefault("TQDM_DISABLE", "1")
    main()
