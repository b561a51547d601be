"""One training epoch through cnnlab.train, everything on, against plain PyTorch loops on the same images and threads.

    python benchmarks/epoch.py                  LeNet-5 on MNIST
    python benchmarks/epoch.py alexnet_cifar    alexnet_cifar on CIFAR-10, a fifth of an epoch; cnnlab flips, crops and
                                                cuts out, the usual pipeline flips and crops, the others do neither

Rounds are interleaved, so that a busy machine slows all of them; the table shows medians and ratios. cnnlab's time is
the median epoch's of three, so that compiling is not in it. Peak memory is that of a process which does nothing else.
"""

import argparse
import contextlib
import io
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

from cnnlab.config import compose
from cnnlab.config import plain as containers
from cnnlab.data.datamodule import DataModule
from cnnlab.runs import Run
from cnnlab.train import train

CASES = {
    "lenet5": (["data=mnist", "model=lenet5", "precision=32-true"], torch.float32),
    # a fifth of an epoch, so that it ends in minutes
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
EPOCHS = 3  # of each fit; the rate that metrics.json keeps is the median epoch's


def cnnlab_epoch(overrides: list[str], images: int) -> float:
    with tempfile.TemporaryDirectory() as folder:
        config, _ = compose("train", [*overrides, "optimizer=sgd", "trainer=cpu", f"trainer.max_epochs={EPOCHS}"])
        with contextlib.redirect_stdout(io.StringIO()):
            train(containers(config), Path(folder))
        return images / Run.load(folder).metrics["train_images_per_second"]


def measures(case: str) -> dict:
    overrides, dtype = CASES[case]
    if dtype == torch.bfloat16 and not torch.cpu._is_avx512_bf16_supported():
        dtype = torch.float32
    config, _ = compose("train", overrides)
    data = DataModule(containers(config)["data"])
    data.setup()
    size, steps = containers(config)["data"]["batch_size"], containers(config)["trainer"].get("limit_train_batches")
    share = slice(size * steps if steps else None)
    images, labels = data.train.images[share], data.train.labels[share]
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
        "usual pipeline": lambda: usual.epoch(network, dataset, augment, len(images), size),
    }


def peak_memory(case: str, name: str) -> int:
    """MiB, of a process of its own that trains one epoch."""
    command = [sys.executable, __file__, case, "--peak", name]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("case", nargs="?", choices=CASES, default="lenet5")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--peak", help=argparse.SUPPRESS)
    args = parser.parse_args()
    runs = measures(args.case)
    if args.peak:
        runs[args.peak]()
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
        return
    seconds = {name: [] for name in runs}
    for _ in range(args.rounds):
        for name, run in runs.items():
            seconds[name].append(run())
    memory = {name: peak_memory(args.case, name) for name in runs}
    print(
        f"{args.case}, one epoch, {args.rounds} interleaved rounds, "
        f"{torch.get_num_threads()} threads, torch {torch.__version__}\n"
    )
    print("| | seconds (min - max) | cnnlab takes | peak memory, MiB | cnnlab takes |\n| --- | --- | --- | --- | --- |")
    for name in runs:
        ratio = median(a / b for a, b in zip(seconds["cnnlab"], seconds[name], strict=True))
        span = f"{median(seconds[name]):.2f} ({min(seconds[name]):.2f} - {max(seconds[name]):.2f})"
        print(f"| {name} | {span} | {ratio:.2f} times | {memory[name]} | {memory['cnnlab'] / memory[name]:.2f} times |")


if __name__ == "__main__":
    os.environ.setdefault("TQDM_DISABLE", "1")
    main()
