"""Time the seeds of a network trained together (study.pack), and the same seeds one after the other.

    python benchmarks/pack.py                     MLP and LeNet-5 on MNIST, 8 members
    python benchmarks/pack.py --members 8 32      for a GPU

Rounds are interleaved; times are of the training steps of the median epoch, over all members. The second table counts
the operations that a packed step dispatches, views left out: a GPU's kernel launches, counted on the CPU.
"""

import argparse
import contextlib
import io
import tempfile
from pathlib import Path
from statistics import median

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from cnnlab.config.compose import compose, plain
from cnnlab.packing.together import PackedRun, train_together
from cnnlab.trained.run import Run
from cnnlab.training.run import train

CASES = {
    "mlp": ["data=mnist", "model=mlp"],
    "lenet5, batches of 128": ["data=mnist", "model=lenet5"],
    "lenet5, batches of 16": ["data=mnist", "model=lenet5", "data.batch_size=16", "+trainer.limit_train_batches=400"],
}
if torch.cuda.is_available():
    CASES["resnet20, bfloat16"] = ["data=cifar10", "model=resnet20", "precision=auto",
                                  "+trainer.limit_train_batches=100"]  # fmt: skip


def configs(overrides: list[str], members: int) -> list[dict]:
    trainer = "gpu" if torch.cuda.is_available() else "cpu"
    common = [*overrides, "optimizer=sgd", f"trainer={trainer}", "trainer.max_epochs=3", "study.variant=measured"]
    return [plain(compose("train", [*common, f"seed={seed}"])[0]) for seed in range(members)]


def seconds(directory: Path, config: dict) -> float:
    """Return the seconds of the median epoch's training steps."""
    images = config["data"]["batch_size"] * config["trainer"].get("limit_train_batches", 430)
    return images / Run.load(directory).metrics["train_images_per_second"]


def alone(overrides: list[str], members: int) -> float:
    """Return the seconds of one run, whatever `members`: the others take as long."""
    (config,) = configs(overrides, 1)
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        train(config, Path(folder))
        return seconds(Path(folder), config)


def together(overrides: list[str], members: int) -> float:
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        jobs = [PackedRun(config, Path(folder) / str(m), []) for m, config in enumerate(configs(overrides, members))]
        for outcome in train_together(jobs):
            if isinstance(outcome, Exception):
                raise outcome
        return members * seconds(jobs[0].directory, jobs[0].config)


class Count(TorchDispatchMode):
    """Count operations other than views."""

    def __init__(self) -> None:
        super().__init__()
        self.operations = 0

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        self.operations += not operation.is_view
        return operation(*args, **(kwargs or {}))


def operations(overrides: list[str], members: int) -> float:
    """Return the operations of a step, from runs of 2 and 42 steps; TensorBoard is off, as its graph needs a trace."""
    counts = []
    for steps in (2, 42):
        options = [*overrides, f"+trainer.limit_train_batches={steps}", "trainer.max_epochs=1", "~logger.tensorboard"]
        options = [*options, "optimizer=sgd", "trainer=cpu", "study.variant=counted"]
        made = [plain(compose("train", [*options, f"seed={seed}"])[0]) for seed in range(members)]
        with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()), Count() as count:
            if members == 1:
                train(made[0], Path(folder))
            else:
                train_together([PackedRun(config, Path(folder) / str(m), []) for m, config in enumerate(made)])
        counts.append(count.operations)
    return (counts[1] - counts[0]) / 40


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--members", type=int, nargs="+", default=[8])
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    place = torch.cuda.get_device_name() if torch.cuda.is_available() else f"{torch.get_num_threads()} CPU threads"
    print(f"{place}, torch {torch.__version__}, {args.rounds} interleaved rounds\n")
    print("| | members | one alone, s | all together, s | times one | times one after the other |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name, overrides in CASES.items():
        for members in args.members:
            pairs = [(alone(overrides, members), together(overrides, members)) for _ in range(args.rounds)]
            one, all_ = (median(times) for times in zip(*pairs, strict=True))
            ratio = median(t / a for a, t in pairs)
            print(f"| {name} | {members} | {one:.2f} | {all_:.2f} | {ratio:.2f} | {ratio / members:.2f} |", flush=True)
    print("\n| operations of a step | one | " + " | ".join(map(str, (8, 32))) + " |\n| --- | --- | --- | --- |")
    for model in ("lenet5", "mlp"):
        counts = [operations(["data=digits", f"model={model}", "augment=none"], members) for members in (1, 8, 32)]
        print(f"| {model} | " + " | ".join(f"{count:.0f}" for count in counts) + " |", flush=True)


if __name__ == "__main__":
    main()
