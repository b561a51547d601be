"""What looking costs: a fit with `callbacks=inspect` at its default against the same fit without, interleaved.

python benchmarks/looking.py [rounds]
"""

import sys
import tempfile
from statistics import median

import cnnlab

FIT = ["data=mnist", "model=lenet5", "trainer.max_epochs=10"]
CASES = {"without": [], "with": ["callbacks=inspect"]}


def main(rounds: int = 2) -> None:
    seconds: dict[str, list[float]] = {name: [] for name in CASES}
    with tempfile.TemporaryDirectory() as output:
        for _ in range(rounds):
            for name, overrides in CASES.items():
                run = cnnlab.fit([*FIT, *overrides, f"output_dir={output}"])
                seconds[name].append(run.metrics["fit_seconds"])
    print({name: [round(s, 1) for s in values] for name, values in seconds.items()})
    print(f"with / without: {median(seconds['with']) / median(seconds['without']):.3f}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
