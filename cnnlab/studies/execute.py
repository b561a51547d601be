"""Execute the jobs of a sweep: each in its run directory, by any launcher, none stopping another."""

import multiprocessing
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import Queue
from typing import Any

import torch
from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.types import HydraContext
from omegaconf import DictConfig, OmegaConf

from cnnlab.config.compose import load_config, plain, quote, write_composed
from cnnlab.device import max_threads
from cnnlab.packing.together import PackedRun, train_together
from cnnlab.registry import one_line
from cnnlab.runs.record import InUseError, Record, cause, completed, locked, record_failure, write_json
from cnnlab.studies.plan import shown_seconds
from cnnlab.studies.progress import follow
from cnnlab.studies.tally import Tally
from cnnlab.training.run import train


@dataclass(frozen=True)
class Task:
    """A job of a sweep or search: one run."""

    overrides: list[str]
    directory: Path
    kin: str | None = None  # tasks with the same value can be trained together
    number: str = ""  # shown: "3/20"


@dataclass
class Survivor:
    """The function that a launcher calls: it trains a job, records a failure in its run directory, and returns."""

    numbers: dict[str, str]  # of all tasks, by the names of their directories
    mates: dict[str, list[Path]]  # directories trained together with the job of that name
    sweeper: int  # its process

    def __call__(self, composed: DictConfig) -> None:
        """Train the job of a composed config."""
        if os.getpid() != self.sweeper:
            os.environ["TTY_COMPATIBLE"] = "0"  # for rich: bars of several workers would be drawn over each other
            if multiprocessing.parent_process() or os.getppid() == self.sweeper:
                threading.Thread(target=_end_with_parent, daemon=True).start()
        hydra = HydraConfig.get()
        directory = Path(hydra.runtime.output_dir)
        configs = {directory: plain(composed), **{d: load_config(d) for d in self.mates.get(directory.name, [])}}
        # without those that another process has completed meanwhile
        configs = {directory: config for directory, config in configs.items() if not completed(directory)}
        overrides = {d: list(OmegaConf.load(d / ".hydra/overrides.yaml")) for d in configs}
        outcomes: Sequence[Mapping[str, float] | BaseException]
        started = time.time()
        try:
            if len(configs) > 1:
                outcomes = train_together([PackedRun(config, d, overrides[d]) for d, config in configs.items()])
            else:
                outcomes = [train(config, d, overrides[d]) for d, config in configs.items()]
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # SystemExit too, which would end the sweep
            if isinstance(error, SystemExit) and error.code in (130, 143):
                raise
            outcomes = [error] * len(configs)
        for (place, config), outcome in zip(configs.items(), outcomes, strict=True):
            where = _where(self.numbers[place.name], config)
            if isinstance(outcome, InUseError):
                _say(f"{where}  is run by another process")
            elif isinstance(outcome, BaseException):
                if not _begun(place, started):
                    record_failure(place, config, overrides[place], outcome)
                _say(f"{where}  failed: {one_line(outcome) or type(outcome).__name__}")
            else:
                _say(f"{where}  {_compared(config, outcome)}  {shown_seconds(outcome['fit_seconds'])}")


def _where(number: str, config: Mapping[str, Any]) -> str:
    """Name a run in a line of output."""
    held_out = config["data"].get("fold")
    fold = "" if held_out is None else f" fold {held_out}"
    return f"[{number}] {config['study']['variant']} s{config['seed']}{fold}"


def _compared(config: Mapping[str, Any], metrics: Mapping[str, float]) -> str:
    """Return a run's score as text: the study's metric, or accuracy, of validation in a search or cross-validation."""
    study = config["study"]
    if (name := study.get("metric")) is not None and name in metrics:
        return f"{name} {metrics[name]:.4f}"
    if study["trial"] is not None or study.get("folds") is not None or "test/acc" not in metrics:
        return f"validation accuracy {metrics.get('val/acc', 0.0):.4f}"
    return f"accuracy {metrics['test/acc']:.4f}"


def announcer(config: DictConfig, tasks: Sequence[Task]) -> Callable[[Path], None] | None:
    """Return a function that prints a run's outcome, for workers that cannot: submitit's jobs print into files."""
    if not str(config.hydra.runtime.choices.get("hydra/launcher")).startswith("submitit"):
        return None
    numbers = {task.directory: task.number for task in tasks}

    def announce(directory: Path) -> None:
        run = Record.load(directory)
        where = _where(numbers[directory], run.config)
        if run.status == "completed":
            _say(f"{where}  {_compared(run.config, run.metrics)}  {shown_seconds(run.metrics['fit_seconds'])}")
        else:
            _say(f"{where}  failed: {run.info['cause']}")

    return announce


def _say(text: str) -> None:
    """Print a whole line at once, because workers share the terminal."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _end_with_parent() -> None:
    """End this process when the sweep that started it has ended."""
    if sweep := multiprocessing.parent_process():  # of a forked worker, whose parent is the forkserver
        sweep.join()
    else:
        parent = os.getppid()
        while os.getppid() == parent:
            time.sleep(1)
    os._exit(1)


def carry_out(context: HydraContext, config: DictConfig, jobs: Sequence[Task], tally: Tally) -> None:
    """Run every job, even if others fail, and show the progress; each job leaves its run directory.

    Raises:
        ValueError: the launcher starts no job.
    """
    tally.expect(job.directory for job in jobs)
    waiting, idle = list(jobs), 0  # passes in which no job started
    with follow(tally, announcer(config, jobs)):
        while waiting:
            started = time.time()
            crash = _launch(context, config, waiting)
            left = []
            for job in waiting:
                while locked(job.directory):  # another process is at work on the same study
                    time.sleep(0.5)
                if not _begun(job.directory, started):
                    left.append(job)
                elif crash and (run := Record.load(job.directory)).status == "interrupted":
                    reason = f"the process was killed: {_exit_code(crash)}"
                    write_json(job.directory / "run.json", run.info | {"status": "failed", "cause": reason})
                    _say(f"{job.directory.name}  failed: {reason}")
            idle = idle + 1 if len(left) == len(waiting) else 0
            if idle == 2:
                raise ValueError(f"the launcher starts no run: {cause(crash) if crash else 'it says nothing'}")
            waiting = [job for job in left if not completed(job.directory)]


def _begun(directory: Path, since: float) -> bool:
    """Return whether a run's `run.json` was written since a time."""
    path = directory / "run.json"
    return path.is_file() and path.stat().st_mtime >= since


def _exit_code(crash: Exception) -> str:
    """Return the exit code in joblib's message about a dead worker, such as SIGKILL(-9)."""
    found = re.search(r"\{(.*?)\}", str(crash))
    return found[1] if found else cause(crash)


def packed(jobs: Sequence[Task], size: int) -> list[list[Task]]:
    """Group jobs into packs of at most `size` that are trained together; one that resumes is alone."""
    packs: list[list[Task]] = []
    filling: dict[str, list[Task]] = {}
    for job in jobs:
        if job.kin is None or (job.directory / "checkpoints/last.ckpt").is_file():
            packs.append([job])
        elif len(pack := filling.get(job.kin, [])) in (0, size):
            filling[job.kin] = [job]
            packs.append(filling[job.kin])
        else:
            pack.append(job)
    return packs


def _launch(context: HydraContext, config: DictConfig, jobs: Sequence[Task]) -> Exception | None:
    """Run jobs by Hydra's launcher; return the exception that ended it early, if any."""
    packs = packed(jobs, config.study.pack)
    mates = {first.directory.name: [job.directory for job in others] for first, *others in packs}
    for job in (job for _, *others in packs for job in others):  # as Hydra does for the jobs that it launches
        write_composed(context.config_loader.load_sweep_config(config, job.overrides), job.directory, job.overrides)
    task = Survivor({job.directory.name: job.number for job in jobs}, mates, os.getpid())
    launcher = Plugins.instance().instantiate_launcher(hydra_context=context, task_function=task, config=config)
    place = quote(f"hydra.sweep.dir={jobs[0].directory.parent}")
    arguments = [[*job.overrides, place, f"hydra.sweep.subdir={job.directory.name}"] for job, *_ in packs]
    try:
        if config.hydra.runtime.choices.get("hydra/launcher") == "submitit_local":
            _launch_in_slots(launcher, arguments)
        else:
            launcher.launch(arguments, initial_job_idx=0)
    except Exception as error:
        return error
    return None


def _launch_in_slots(launcher: Any, arguments: Sequence[list[str]]) -> None:
    """Run one job after the other on each GPU; submitit would start all of them at once."""
    slots: Queue[int] = Queue()
    for slot in range(torch.cuda.device_count() or 1):
        slots.put(slot)
    share = max(1, max_threads() // slots.qsize())

    def run(index: int) -> None:
        slot = slots.get()
        try:
            placed = [] if "OMP_NUM_THREADS" in os.environ else [f"+hydra.job.env_set.OMP_NUM_THREADS='{share}'"]
            if torch.cuda.is_available():
                placed.append(f"+hydra.job.env_set.CUDA_VISIBLE_DEVICES='{slot}'")
            launcher.launch([[*arguments[index], *placed]], initial_job_idx=index)
        finally:
            slots.put(slot)

    with ThreadPoolExecutor(slots.qsize()) as pool:
        futures = [pool.submit(run, i) for i in range(len(arguments))]
    for future in futures:
        future.result()  # raises the job's exception
