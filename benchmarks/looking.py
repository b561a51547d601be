"""Time a fit with the default `callbacks=inspect` and without, interleaved, and a look of each looker, with writing.

python benchmarks/looking.py [rounds]
"""

import contextlib
import io
import sys
import tempfile
from statistics import median
from time import perf_counter

from torch.utils.tensorboard import SummaryWriter

import cnnlab
from cnnlab.config.compose import compose, plain
from cnnlab.config.targets import target
from cnnlab.inspection.look import Look, fitting, run_look
from cnnlab.training.datamodule import DataModule

FIT = ["data=mnist", "model=lenet5", "trainer.max_epochs=10"]
CASES = {"without": [], "with": ["callbacks=inspect"]}


def a_look(run: cnnlab.Run, looker: Look) -> float:
    """Return the median seconds of three looks."""
    classifier, data, times = run.classifier(), DataModule(run.config["data"]), []
    data.setup()
    with tempfile.TemporaryDirectory() as folder, SummaryWriter(folder) as writer:
        for step in range(4):  # the first one imports modules, and is left out
            started = perf_counter()
            run_look(looker.look, classifier, data).write(writer, step)
            times.append(perf_counter() - started)
    return median(times[1:])


def main(rounds: int = 2) -> None:
    seconds: dict[str, list[float]] = {name: [] for name in CASES}
    with tempfile.TemporaryDirectory() as output:
        for _ in range(rounds):
            for name, overrides in CASES.items():
                with contextlib.redirect_stdout(io.StringIO()):
                    run = cnnlab.fit([*FIT, *overrides, f"output_dir={output}"])
                seconds[name].append(run.metrics["fit_seconds"])
        options = plain(compose("train", ["callbacks=inspect"])[0])["callbacks"]
        lookers = fitting({name: target(node, Look)() for name, node in options.items()}, run.classifier().facts)
        print("a look, seconds: " + ", ".join(f"{name} {a_look(run, look):.2f}" for name, look in lookers.items()))
    print({name: [round(s, 1) for s in values] for name, values in seconds.items()})
    print(f"with / without: {median(seconds['with']) / median(seconds['without']):.3f}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
