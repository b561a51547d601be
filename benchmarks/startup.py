"""What one waits for: commands that train nothing, and the first step of a run, against bare imports.

python benchmarks/startup.py
"""

import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from time import perf_counter

ROUNDS = 3
STUDY = ["-m", "model=softmax,mlp", "seed=0,1", "trainer.max_epochs=1", "study.name=small"]
FIRST_STEP = """
import os
from lightning.pytorch import Callback
class FirstStep(Callback):
    def on_train_batch_end(self, *args):
        os._exit(0)
"""


def seconds(folder: str, *command: str) -> float:
    started = perf_counter()
    subprocess.run([sys.executable, *command], cwd=folder, capture_output=True)
    return perf_counter() - started


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "first_step.py").write_text(FIRST_STEP)
        seconds(folder, "-m", "cnnlab.train", *STUDY)
        assert Path(folder, "outputs/studies/small/report.html").is_file()
        cases = {
            "import torch": ("-c", "import torch"),
            "import torch, lightning, torchvision": ("-c", "import torch, lightning, torchvision"),
            "train --help": ("-m", "cnnlab.train", "--help"),
            "train model=lenet6": ("-m", "cnnlab.train", "model=lenet6"),
            "train data.batch_size=0": ("-m", "cnnlab.train", "data.batch_size=0"),
            "report of four runs": ("-m", "cnnlab.report", "study=outputs/studies/small"),
            "summary": ("-m", "cnnlab.summary"),
            "summary model.remove=[conv9]": ("-m", "cnnlab.summary", "model.remove=[conv9]"),
            "train, to the first step": ("-m", "cnnlab.train", "+callbacks.first._target_=first_step.FirstStep"),
        }
        times = {name: [] for name in cases}
        for _ in range(ROUNDS):
            for name, command in cases.items():
                times[name].append(seconds(folder, *command))
    torch, everything = (median(times[name]) for name in list(cases)[:2])
    print("| command | seconds (min - max) | beyond import torch | of import torch, lightning, torchvision |")
    print("| --- | --- | --- | --- |")
    for name, taken in times.items():
        middle = median(taken)
        span = f"{middle:.2f} ({min(taken):.2f} - {max(taken):.2f})"
        print(f"| `{name}` | {span} | {middle - torch:+.2f} s | {middle / everything:.2f} times |")


if __name__ == "__main__":
    main()
