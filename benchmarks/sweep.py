"""What a sweep costs: twelve runs on digits in one sweep against a shell loop, and against their fits and one start.

python benchmarks/sweep.py
"""

import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter

from cnnlab.runs import Run

RUNS = 12
QUICK = ["trainer.max_epochs=5"]


def timed(*arguments: str, cwd: str) -> float:
    started = perf_counter()
    subprocess.run([sys.executable, "-m", "cnnlab.train", *arguments, *QUICK], cwd=cwd, check=True, capture_output=True)
    return perf_counter() - started


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        timed(cwd=folder)  # files into the cache
        loop = [timed(f"seed={seed}", cwd=folder) for seed in range(RUNS)]
        sweep = timed("-m", f"seed=range({RUNS})", cwd=folder)
        fits = [
            Run.load(p.parent).metrics["fit_seconds"] for p in Path(folder).glob("outputs/studies/*/*/metrics.json")
        ]
        single = [Run.load(p.parent).metrics["fit_seconds"] for p in Path(folder).glob("outputs/runs/*/metrics.json")]
        start = sum(loop) / RUNS - sum(single) / len(single)
    assert len(fits) == RUNS
    print(f"shell loop {sum(loop):.1f} s, one sweep {sweep:.1f} s: {sum(loop) / sweep:.2f} times as fast")
    print(
        f"fits {sum(fits):.1f} s, one start {start:.1f} s; sweep / (fits + start) = {sweep / (sum(fits) + start):.2f}"
    )


if __name__ == "__main__":
    main()
