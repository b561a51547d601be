"""Time commands that do not train, and the start of a run up to its first step, relative to `import torch`.

python benchmarks/startup.py [CHECKOUT]

The commands of another checkout of cnnlab, such as an earlier one, are timed in turn with these.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from time import perf_counter

ROUNDS = 5
STUDY = ["-m", "model=softmax,mlp", "seed=0,1", "trainer.max_epochs=1", "study.name=small"]
FIRST_STEP = """
import os
from lightning.pytorch import Callback
class FirstStep(Callback):
    def on_train_batch_end(self, *args):
        os._exit(0)
"""
HERE = Path(__file__).parents[1]


def seconds(folder: str, tree: Path, *command: str) -> float:
    environment = os.environ | {"PYTHONPATH": f"{tree}{os.pathsep}{folder}"}
    started = perf_counter()
    subprocess.run([sys.executable, *command], cwd=folder, env=environment, capture_output=True)
    return perf_counter() - started


def main() -> None:
    trees = [Path(other).resolve() for other in sys.argv[1:]] + [HERE]
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "first_step.py").write_text(FIRST_STEP)
        seconds(folder, HERE, "-m", "cnnlab.train", *STUDY)
        assert Path(folder, "outputs/studies/small/report.html").is_file()
        cases = {
            "import torch": ("-c", "import torch"),
            "train --help": ("-m", "cnnlab.train", "--help"),
            "train model=lenet6": ("-m", "cnnlab.train", "model=lenet6"),
            "train data.batch_size=0": ("-m", "cnnlab.train", "data.batch_size=0"),
            "report of four runs": ("-m", "cnnlab.report", "study=outputs/studies/small"),
            "summary": ("-m", "cnnlab.summary"),
            "summary model.remove=[conv9]": ("-m", "cnnlab.summary", "model.remove=[conv9]"),
            "train, to the first step": ("-m", "cnnlab.train", "+callbacks.first._target_=first_step.FirstStep"),
        }
        times: dict[str, list[list[float]]] = {name: [[] for _ in trees] for name in cases}
        for _ in range(ROUNDS):
            for name, command in cases.items():
                for taken, tree in zip(times[name], trees, strict=True):
                    taken.append(seconds(folder, tree, *command))
    torch = median(t for taken in times["import torch"] for t in taken)
    print("| command | " + " | ".join(f"{tree.name}: seconds (min - max) | of import torch" for tree in trees) + " |")
    print("| --- |" + " --- | --- |" * len(trees))
    for name, by_tree in times.items():
        cells = [
            f"{median(taken):.2f} ({min(taken):.2f} - {max(taken):.2f}) | {median(taken) / torch:.2f} times"
            for taken in by_tree
        ]
        print(f"| `{name}` | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
