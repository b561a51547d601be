"""A run of several processes on this machine: a process group of its own, forked from one that trains nothing.

Lightning would start the other processes by repeating the command line; in a sweep or a notebook that would repeat the
whole sweep. Here `python -m cnnlab.distributed.launch` imports what they need, once, and forks them, told as torchrun
would tell them who they are.
"""

import contextlib
import importlib
import json
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

from cnnlab.config.errors import EXPECTED
from cnnlab.device import for_run
from cnnlab.distributed.world import clear_shared_files, device_count, joined
from cnnlab.runs.record import read_json

# what every process of a group would import, the last two for what exchanges the gradients
NEEDED = ("lightning.pytorch.loggers", "lightning.pytorch.strategies", "torch._dynamo.utils",
          "torch._dynamo.trace_rules")  # fmt: skip
GRACE = 20  # seconds in which the other processes may say what happened when one has failed


def needs_launch(trainer: Mapping[str, Any]) -> bool:
    """Whether a trainer config wants processes that have not been started yet."""
    return not joined() and "LOCAL_RANK" not in os.environ and device_count(trainer) > 1


def launch(function: Callable[..., Any], config: Mapping[str, Any], directory: Path, overrides: Sequence[str]) -> None:
    """Call a function in every process of a group of its own and wait for them; signals are passed on.

    Args:
        function: of a module; called with the other arguments.
        config: a train config as plain containers.
        directory: the run directory, in whose `run.json` the function leaves the cause where it fails.
        overrides: to be recorded there.

    Raises:
        ValueError: it failed; the message is the cause it left in `run.json`.
        SystemExit, KeyboardInterrupt: it was stopped by a signal.
    """
    resumes = (directory / "checkpoints/last.ckpt").is_file()
    kept = read_json(directory / "run.json").get("threads") if resumes else None
    count = device_count(config["trainer"])
    share = for_run(kept, count)
    with tempfile.TemporaryDirectory() as folder:
        job = Path(folder) / "job.json"
        content = {"config": config, "directory": str(directory), "overrides": list(overrides), "count": count,
                   "module": function.__module__, "function": function.__name__}  # fmt: skip
        job.write_text(json.dumps(content))
        process = subprocess.Popen(
            [sys.executable, "-m", "cnnlab.distributed.launch", str(job)],
            env={"OMP_NUM_THREADS": str(share), **os.environ},
            start_new_session=True,
        )
        before = {s: signal.signal(s, lambda s, _: os.killpg(process.pid, s)) for s in (signal.SIGINT, signal.SIGTERM)}
        try:
            status = process.wait()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            with contextlib.suppress(ProcessLookupError):  # what may be left
                os.killpg(process.pid, signal.SIGKILL)
    if status == 130:
        raise KeyboardInterrupt
    if status == 143:
        raise SystemExit(143)
    if status != 0:
        noted = directory / "run.json"  # by the first process
        cause = read_json(noted)["cause"] if noted.is_file() else None
        raise ValueError(cause or f"a process of {directory} ended with status {status}")


def main() -> None:
    """Fork the processes of a run and wait for them."""
    job = json.loads(Path(sys.argv[1]).read_text())
    try:
        for module in (job["module"], *NEEDED, *job["config"]["trusted_modules"]):
            importlib.import_module(module)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        fork = multiprocessing.get_context("fork")
        ranks = [fork.Process(target=_be_one, args=(rank, port, job)) for rank in range(job["count"])]
        for rank in ranks:
            rank.start()
    except KeyboardInterrupt:
        sys.exit(130)
    for number in (signal.SIGINT, signal.SIGTERM):  # which the processes get too, and answer
        signal.signal(number, signal.SIG_IGN)
    status = _status(ranks)
    sys.stdout.flush()
    os._exit(status)  # to take down what was imported would take a second


def _be_one(rank: int, port: int, job: Mapping[str, Any]) -> None:
    """Be a process of a run; what it is told of its place is what torchrun would tell it."""
    numbers = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": job["count"], "LOCAL_WORLD_SIZE": job["count"]}
    os.environ |= {name: str(number) for name, number in numbers.items()}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "GROUP_RANK": "0"}
    os.environ["TORCHELASTIC_RUN_ID"] = str(port)
    try:
        function = getattr(importlib.import_module(job["module"]), job["function"])
        function(job["config"], Path(job["directory"]), job["overrides"])
    except KeyboardInterrupt:
        sys.exit(130)
    except EXPECTED:  # the cause is in run.json, and whoever started the processes says it, once
        sys.exit(1)
    finally:
        clear_shared_files()


def _status(ranks: Sequence[Any]) -> int:
    """Wait for all; when one has failed, for the others no longer than they may take to notice."""
    left = list(ranks)
    while left and all(rank.exitcode in (None, 0) for rank in ranks):
        wait([rank.sentinel for rank in left])
        left = [rank for rank in left if rank.exitcode is None]
    deadline = time.monotonic() + GRACE
    for rank in ranks:
        rank.join(max(0, deadline - time.monotonic()))
    status = next((rank.exitcode for rank in ranks if rank.exitcode), 0)
    return int(status) if status >= 0 else 128 - status


if __name__ == "__main__":
    main()
