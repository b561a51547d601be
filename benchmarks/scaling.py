"""Two processes of one thread each against one: images a second, and what the all-reduce of the gradients takes.

python benchmarks/scaling.py
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

ROUNDS = 2
CASES = {
    "lenet5": ["data=mnist", "model=lenet5", "data.batch_size=256", "trainer.max_epochs=2"],
    "alexnet_cifar": [
        "data=cifar10", "model=alexnet_cifar", "model.norm=null", "data.batch_size=256", "trainer.max_epochs=2",
        "+trainer.limit_train_batches=20", "data.val_size=500", "precision=auto",
    ],
}  # fmt: skip
# the gradients of both networks, summed over two processes, as often as it takes to tell
ALL_REDUCE = """
import json, sys, time, torch, torch.distributed as dist
dist.init_process_group("gloo")
times = {}
for name, values in json.loads(sys.argv[1]).items():
    gradient = torch.randn(values)
    for _ in range(3): dist.all_reduce(gradient)
    started = time.perf_counter()
    for _ in range(20): dist.all_reduce(gradient)
    times[name] = (time.perf_counter() - started) / 20
if dist.get_rank() == 0: print(json.dumps(times))
"""


def rate(folder: str, case: str, trainer: str) -> tuple[float, int]:
    """Images a second of the median epoch, and parameters."""
    command = [
        sys.executable,
        "-m",
        "cnnlab.train",
        *CASES[case],
        f"trainer={trainer}",
        f"hydra.run.dir={folder}/{trainer}",
    ]
    subprocess.run(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, check=True, capture_output=True)
    metrics = json.loads(Path(folder, trainer, "metrics.json").read_text())
    return metrics["train_images_per_second"], metrics["params"]


def main() -> None:
    params = {}
    print("| | one process | two | two of one |\n| --- | --- | --- | --- |")
    for case in CASES:
        pairs = []
        for _ in range(ROUNDS):
            with tempfile.TemporaryDirectory() as folder:
                (one, params[case]), (two, _) = rate(folder, case, "cpu"), rate(folder, case, "ddp_cpu")
            pairs.append((one, two))
        one, two = (median(rates) for rates in zip(*pairs, strict=True))
        print(f"| {case} | {one:,.0f} images/s | {two:,.0f} | {median(b / a for a, b in pairs):.2f} times |")
    start = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder, "all_reduce.py")
        script.write_text(ALL_REDUCE)
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        done = subprocess.run(
            [*start, str(script), json.dumps(params)], env=environment, stdout=subprocess.PIPE, text=True, check=True
        )
    for case, seconds in json.loads(done.stdout).items():
        print(f"all-reduce of {params[case]:,} float32 between the two, {case}: {seconds * 1000:.2f} ms")


if __name__ == "__main__":
    main()
