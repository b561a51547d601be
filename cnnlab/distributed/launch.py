"""Start the processes of a run on this machine: a process group, forked from a parent that does not train.

Lightning would start the other processes by repeating the command line, which in a sweep or a notebook would repeat the
whole sweep. Here `python -m cnnlab.distributed.launch` imports the libraries once and forks the processes, which get
the environment variables that torchrun would set.
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
from cnnlab.device import threads_for_run
from cnnlab.distributed.world import clear_shared_files, device_count, in_process_group
from cnnlab.runs.record import read_json

# modules that every process imports, the last two when DDP is set up
NEEDED = ("lightning.pytorch.loggers", "lightning.pytorch.strategies", "torch._dynamo.utils",
          "torch._dynamo.trace_rules")  # fmt: skip
GRACE = 20  # seconds after a failure in which the other processes may report theirs


def needs_launch(trainer: Mapping[str, Any]) -> bool:
    """Return whether a trainer config needs several processes that have not been started yet."""
    return not in_process_group() and "LOCAL_RANK" not in os.environ and device_count(trainer) > 1


def launch(function: Callable[..., Any], config: Mapping[str, Any], directory: Path, overrides: Sequence[str]) -> None:
    """Call a function in every process of a new process group and wait for them; signals are forwarded.

    Args:
        function: of a module, called with the other arguments.
        config: a train config as plain containers.
        directory: the run directory; if the function fails, it leaves the cause in `run.json` there.
        overrides: to be recorded there.

    Raises:
        ValueError: the function failed; the message is the cause in `run.json`.
        SystemExit, KeyboardInterrupt: a signal stopped it.
    """
    resumes = (directory / "checkpoints/last.ckpt").is_file()
    kept = read_json(directory / "run.json").get("threads") if resumes else None
    count = device_count(config["trainer"])
    share = threads_for_run(kept, count)
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
            with contextlib.suppress(ProcessLookupError):  # none is left
                os.killpg(process.pid, signal.SIGKILL)
    if status == 130:
        raise KeyboardInterrupt
    if status == 143:
        raise SystemExit(143)
    if status != 0:
        record = directory / "run.json"  # written by the first process
        cause = read_json(record)["cause"] if record.is_file() else None
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
        processes = [fork.Process(target=_run_rank, args=(rank, port, job)) for rank in range(job["count"])]
        for process in processes:
            process.start()
    except KeyboardInterrupt:
        sys.exit(130)
    for number in (signal.SIGINT, signal.SIGTERM):  # the processes of the group get them too, and handle them
        signal.signal(number, signal.SIG_IGN)
    status = _exit_status(processes)
    sys.stdout.flush()
    os._exit(status)  # a normal exit would spend a second on unloading modules


def _run_rank(rank: int, port: int, job: Mapping[str, Any]) -> None:
    """Run the function of a job as one process of the run, with the environment variables that torchrun would set."""
    numbers = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": job["count"], "LOCAL_WORLD_SIZE": job["count"]}
    os.environ |= {name: str(number) for name, number in numbers.items()}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "GROUP_RANK": "0"}
    os.environ["TORCHELASTIC_RUN_ID"] = str(port)
    try:
        function = getattr(importlib.import_module(job["module"]), job["function"])
        function(job["config"], Path(job["directory"]), job["overrides"])
    except KeyboardInterrupt:
        sys.exit(130)
    except EXPECTED:  # the cause is in run.json, from which `launch` reports it once
        sys.exit(1)
    finally:
        clear_shared_files()


def _exit_status(processes: Sequence[Any]) -> int:
    """Wait for all processes, after a failure at most GRACE seconds, and return the exit status of the run."""
    left = list(processes)
    while left and all(process.exitcode in (None, 0) for process in processes):
        wait([process.sentinel for process in left])
        left = [process for process in left if process.exitcode is None]
    deadline = time.monotonic() + GRACE
    for process in processes:
        process.join(max(0, deadline - time.monotonic()))
    status = next((process.exitcode for process in processes if process.exitcode), 0)
    return int(status) if status >= 0 else 128 - status


if __name__ == "__main__":
    main()
