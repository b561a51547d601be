"""Time the planning of large studies and the reports on many finished runs: seconds, CPU seconds, peak memory.

    python benchmarks/study_scale.py [--checkout OTHER] [--runs 250 1000] [--variants 50 200]

Plans are made by `study.plan_only=true`, with 8 seeds for each variant of LeNet-5 on digits: learning rates, for
variants of equal structure, and widths, for variants of different structure. The runs of a report are copies of one
real run of three epochs, in the directories that a plan names, with the config, `run.json`, metrics and answers of each
variant and seed; checkpoints and events, which reports do not read, are left out. With `--checkout`, the other
checkout's commands are timed in turn with these.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter

import numpy as np
from omegaconf import OmegaConf

from cnnlab.config.compose import write_composed
from cnnlab.runs.answers import Answers, read_answers, read_classes, write_answers
from cnnlab.runs.plan import Plan
from cnnlab.runs.record import read_json, write_json

HERE = Path(__file__).parents[1]
RUN = ["model=lenet5", "data=digits", "trainer.max_epochs=3", "trainer=cpu"]
VARIED = {  # overrides for a number of variants
    "learning rates": lambda n: ["optimizer.lr=" + ",".join(f"{0.001 + 0.00001 * i:.5f}" for i in range(n))],
    "widths": lambda n: ["model.width=" + ",".join(f"{0.5 + 0.01 * i:.2f}" for i in range(n))],
}


def cost(folder: Path, tree: Path, *command: str) -> tuple[float, float, float]:
    """Run a command of a checkout; returns its seconds, CPU seconds, and peak memory in MiB."""
    environment = os.environ | {"PYTHONPATH": str(tree)}
    started = perf_counter()
    process = subprocess.Popen([sys.executable, "-m", *command], cwd=folder, env=environment, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0, command
    return perf_counter() - started, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def plan(folder: Path, tree: Path, varied: str, variants: int, name: str) -> tuple[float, float, float]:
    """Time planning a study with a number of variants and 8 seeds."""
    swept = [*VARIED[varied](variants), "seed=range(8)", f"study.name={name}", "study.plan_only=true"]
    return cost(folder, tree, "cnnlab.train", "-m", *RUN, *swept)


def fill(study: Path, run: Path, seed: int = 0) -> None:
    """Write a finished run for each job of a plan: a copy of one, with changed predictions for one image in fifty."""
    random = np.random.default_rng(seed)
    info, metrics, answers = read_json(run / "run.json"), read_json(run / "metrics.json"), read_answers(run)
    config = OmegaConf.load(run / ".hydra/config.yaml")
    planned = Plan.load(study)
    overrides = {variant.name: variant.overrides for variant in planned.variants}
    for job in planned.jobs:
        directory = study / job.run_dir
        shutil.copytree(run, directory, ignore=shutil.ignore_patterns("checkpoints", "tensorboard", "events.*"))
        added = [f"seed={job.seed}", f"study.name={planned.name}", f"study.variant={job.variant}"]
        for key, _, value in (text.partition("=") for text in [*overrides[job.variant], *added]):
            OmegaConf.update(config, key, value)
        write_composed(config, directory, overrides[job.variant])
        own = {"config_hash": job.config_hash, "variant": job.variant, "seed": job.seed}
        write_json(directory / "run.json", info | own | {"overrides": overrides[job.variant]})
        changed = {stage: perturbed(original, random) for stage, original in answers.items()}
        accuracies = {f"{stage}/acc": float(copy.hits.mean()) for stage, copy in changed.items()}
        write_json(directory / "metrics.json", metrics | accuracies)
        write_answers(directory, changed, read_classes(run))


def perturbed(answers: Answers, random: np.random.Generator) -> Answers:
    """Return answers that differ from these for about one image in fifty."""
    guess = np.where(random.random(len(answers.label)) < 0.02, (answers.guess + 1) % 10, answers.guess)
    return Answers(answers.label, guess.astype(np.int16), answers.probability)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkout", type=Path, help="another checkout, to be timed too")
    parser.add_argument("--variants", type=int, nargs="*", default=[50, 200])
    parser.add_argument("--runs", type=int, nargs="*", default=[250, 1000])
    options = parser.parse_args()
    trees = {"this": HERE} | ({"other": options.checkout.resolve()} if options.checkout else {})
    print("| | seconds | CPU seconds | peak memory, MiB |\n| --- | --- | --- | --- |")

    def show(what: str, tree: str, figures: tuple[float, float, float]) -> None:
        of = f", {tree} checkout" if len(trees) > 1 else ""
        print(f"| {what}{of} | {figures[0]:.1f} | {figures[1]:.1f} | {figures[2]:.0f} |", flush=True)

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for varied in VARIED:
            for count in options.variants:
                for tree, path in trees.items():
                    figures = plan(folder, path, varied, count, f"{varied[0]}{count}{tree}")
                    show(f"plan {count} {varied} times 8 seeds", tree, figures)
        cost(folder, HERE, "cnnlab.train", *RUN)
        (run,) = folder.glob("outputs/runs/*")
        for count in options.runs:
            plan(folder, HERE, "learning rates", count // 8, f"study{count}")
            study = folder / f"outputs/studies/study{count}"
            fill(study, run)
            for tree, path in trees.items():
                show(f"report {count} runs", tree, cost(folder, path, "cnnlab.report", f"study={study}"))
            rows = (study / "results.csv").read_text().count("completed")
            assert rows == len(json.loads((study / "plan.json").read_text())["jobs"]), rows


if __name__ == "__main__":
    main()
