"""Measure the throughput of two processes of one thread each relative to one, and time the all-reduce of gradients.

The machine's limit is shown beside it: two independent runs at the same time.

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
    "lenet5, batches of 256": ["data=mnist", "model=lenet5", "data.batch_size=256", "trainer.max_epochs=2"],
    "lenet5, batches of 1024": ["data=mnist", "model=lenet5", "data.batch_size=1024", "trainer.max_epochs=2"],
    "alexnet_cifar, batches of 256": [
        "data=cifar10", "model=alexnet_cifar", "model.norm=null", "data.batch_size=256", "trainer.max_epochs=2",
        "+trainer.limit_train_batches=20", "data.val_size=500", "precision=auto",
    ],
}  # fmt: skip
# mean time to sum the gradients of each network over two processes
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


def measured(case: str, trainer: str, at_once: int = 1) -> list[dict]:
    """Return the metrics of a run, or of several at the same time."""
    command = [sys.executable, "-m", "cnnlab.train", *CASES[case], f"trainer={trainer}"]
    with tempfile.TemporaryDirectory() as folder:
        runs = [
            subprocess.Popen(
                [*command, f"hydra.run.dir={folder}/{n}"],
                env={**os.environ, "OMP_NUM_THREADS": "1"},
                stdout=subprocess.DEVNULL,
            )
            for n in range(at_once)
        ]
        assert not any(run.wait() for run in runs)
        return [json.loads(Path(folder, str(n), "metrics.json").read_text()) for n in range(at_once)]


def rate(runs: list[dict]) -> float:
    """Return the images per second of all runs, in the median epoch."""
    return sum(run["train_images_per_second"] for run in runs)


def main() -> None:
    params = {}
    print("| | one process | two | two of one | two strangers of one |\n| --- | --- | --- | --- | --- |")
    for case in CASES:
        rounds = []
        for _ in range(ROUNDS):
            (one,) = measured(case, "cpu")
            params[case] = one["params"]
            rounds.append((rate([one]), rate(measured(case, "ddp_cpu")), rate(measured(case, "cpu", at_once=2))))
        one, two = (median(round[n] for round in rounds) for n in (0, 1))
        together, strangers = (median(round[n] / round[0] for round in rounds) for n in (1, 2))
        print(
            f"| {case} | {one:,.0f} images/s | {two:,.0f} | {together:.2f} times | {strangers:.2f} times |", flush=True
        )
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
