"""Measure the runs per minute of a sweep, sequential and packed, and of a shell loop of cnnlab.train.

python benchmarks/sweep.py
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter

CASES = {  # options, runs
    "digits, 5 epochs": (["trainer.max_epochs=5"], 12),
    "MNIST, 1 epoch": (["data=mnist", "trainer.max_epochs=1"], 8),
}


def timed(*arguments: str, cwd: str) -> float:
    environment = {**os.environ, "CNNLAB_DATA_DIR": str(Path(os.environ.get("CNNLAB_DATA_DIR", "data")).absolute())}
    command = [sys.executable, "-m", "cnnlab.train", *arguments]
    started = perf_counter()
    subprocess.run(command, cwd=cwd, env=environment, check=True, capture_output=True)
    return perf_counter() - started


def main() -> None:
    print("| LeNet-5 | shell loop | one sweep | | with study.pack=8 | |\n| --- | --- | --- | --- | --- | --- |")
    for case, (options, runs) in CASES.items():
        with tempfile.TemporaryDirectory() as folder:
            timed(*options, cwd=folder)  # fills the file cache
            seconds = [
                sum(timed(*options, f"seed={seed}", cwd=folder) for seed in range(runs)),
                timed("-m", *options, f"seed=range({runs})", cwd=folder),
                timed("-m", *options, f"seed=range({runs})", "study.pack=8", "study.name=packed", cwd=folder),
            ]
            assert len(list(Path(folder).glob("outputs/studies/*/*/metrics.json"))) == 2 * runs
        loop, sweep, packed = (60 * runs / s for s in seconds)
        print(
            f"| {case} | {loop:.1f} runs/min | {sweep:.1f} | {sweep / loop:.2f} times | {packed:.1f} "
            f"| {packed / loop:.2f} times |",
            flush=True,
        )


if __name__ == "__main__":
    main()
