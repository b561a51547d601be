"""Time concurrent runs, and runs beside an unrelated process, relative to a run alone; whole commands.

    python benchmarks/beside.py [--rounds 3]

Rounds are interleaved; a time lasts until the last of the commands has ended. "As torch has it" is cnnlab with a thread
for every core, whose threads spin while waiting, as is OpenMP's default. The plain loop trains an epoch. The stranger
keeps one core busy. The last table is a study of LeNet-5, one run after the other and two at once.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from time import perf_counter

from cnnlab.device import cores

EPOCH = str(Path(__file__).with_name("epoch.py"))
TRAIN = [sys.executable, "-m", "cnnlab.train"]
CASES = {
    "lenet5": ["data=mnist", "model=lenet5", "trainer.max_epochs=2"],
    "alexnet_cifar": [
        "data=cifar10",
        "model=alexnet_cifar",
        "trainer.max_epochs=1",
        "+trainer.limit_train_batches=70",
        "+trainer.limit_val_batches=4",
    ],
}
USUAL = {"OMP_NUM_THREADS": str(cores()), "GOMP_SPINCOUNT": "300000"}
PROGRAMS = {  # command of a case, environment variables, numbers of concurrent runs
    "cnnlab": (lambda case: [*TRAIN, "trainer=cpu", *CASES[case]], {}, (1, 2, 4)),
    "cnnlab, as torch has it": (lambda case: [*TRAIN, "trainer=cpu", *CASES[case]], USUAL, (1, 2)),
    "plain loop": (lambda case: [sys.executable, EPOCH, case, "--only", "plain loop"], {}, (1, 2)),
}


def seconds(command: list[str], environment: dict[str, str], at_once: int = 1, stranger: bool = False) -> float:
    """Return the seconds until the last of `at_once` commands has ended."""
    data = str(Path(os.environ.get("CNNLAB_DATA_DIR", "data")).absolute())
    with tempfile.TemporaryDirectory() as folder:
        beside = subprocess.Popen([sys.executable, "-c", "while True: pass"]) if stranger else None
        started = perf_counter()
        running = [
            subprocess.Popen(
                [*command, f"output_dir={folder}/{i}"] if "cnnlab.train" in command else command,
                cwd=folder,
                env={**os.environ, "CNNLAB_DATA_DIR": data, **environment},
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            for i in range(at_once)
        ]
        assert [process.wait() for process in running] == [0] * at_once
        taken = perf_counter() - started
        if beside:
            beside.kill()
            beside.wait()
    return taken


def study(rounds: int) -> None:
    """Time a study of six runs, one after the other and two at once."""
    command = [*TRAIN, "-m", "trainer=cpu", "data=mnist", "model=lenet5", "trainer.max_epochs=2", "seed=range(6)"]
    at_once = ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]
    times = [(seconds(command, {}), seconds([*command, *at_once], {})) for _ in range(rounds)]
    one, two = (median(each[i] for each in times) for i in (0, 1))
    faster = median(a / b for a, b in times)
    print("\n| study of LeNet-5, six runs | seconds | |\n| --- | --- | --- |")
    print(f"| one after the other | {one:.1f} | |\n| two at once | {two:.1f} | {faster:.2f} times as fast |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    print(f"{cores()} cores, {rounds} interleaved rounds\n")
    print("| | alone, seconds (min - max) | two | four | beside a stranger |\n| --- | --- | --- | --- | --- |")
    for case in CASES:
        taken: dict[tuple[str, int | str], list[float]] = {}
        for _ in range(rounds):
            for name, (command, environment, numbers) in PROGRAMS.items():
                for number in numbers:
                    taken.setdefault((name, number), []).append(seconds(command(case), environment, number))
                taken.setdefault((name, "stranger"), []).append(seconds(command(case), environment, stranger=True))
        for name in PROGRAMS:
            alone = taken[name, 1]
            beside = (
                f"{median(b / a for a, b in zip(alone, taken[name, key], strict=True)):.2f} times"
                if (name, key) in taken
                else ""
                for key in (2, 4, "stranger")
            )
            span = f"{median(alone):.1f} ({min(alone):.1f} - {max(alone):.1f})"
            print(f"| {case}, {name} | {span} | " + " | ".join(beside) + " |", flush=True)
    study(rounds)


if __name__ == "__main__":
    main()
