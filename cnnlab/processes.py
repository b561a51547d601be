"""A run of several processes on this machine is a fresh process group of its own.

Lightning starts the other processes by repeating the command line; in a sweep or a notebook that would repeat the whole
sweep. So `python -m cnnlab.processes` is the command line it repeats.
"""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from cnnlab import threads
from cnnlab.runs import read_json

GROUP = "CNNLAB_PROCESS_GROUP"  # names the folder of a process group, whose first process begins alone

# set in the processes of a run that cnnlab or Lightning has started
LAUNCHED = ("LOCAL_RANK", GROUP)
_stores: list[Any] = []  # of the runs that a cluster's processes have agreed on; one ends with the object
_folders: list[Any] = []  # likewise


def needs_launch(trainer: Mapping[str, Any]) -> bool:
    """Whether a trainer config wants processes that nobody has started yet."""
    return not joined() and not any(name in os.environ for name in LAUNCHED) and device_count(trainer) > 1


def joined() -> bool:
    """Whether torchrun or SLURM has started this process, with others, by repeating the command."""
    return "TORCHELASTIC_RUN_ID" in os.environ or int(os.environ.get("SLURM_NTASKS", "1")) > 1


def first() -> bool:
    """Whether this process is the first of its run, or the only one."""
    rank = next((os.environ[k] for k in ("RANK", "LOCAL_RANK", "SLURM_PROCID") if k in os.environ), "0")
    return int(rank) == 0


def agree(directory: Path | None) -> Path:
    """The run directory of the first process, which gives it; the others, which do not, wait to be told.

    They meet where torch.distributed will: at MASTER_ADDR and MASTER_PORT, as torchrun or Lightning's reading of SLURM
    has them.
    """
    from lightning.fabric.plugins.environments import SLURMEnvironment, TorchElasticEnvironment
    from torch.distributed import rendezvous

    elastic = "TORCHELASTIC_RUN_ID" in os.environ
    environment = TorchElasticEnvironment() if elastic else SLURMEnvironment()
    os.environ |= {"MASTER_ADDR": environment.main_address, "MASTER_PORT": str(environment.main_port)}
    rank, size = environment.global_rank(), environment.world_size()
    store, *_ = next(rendezvous("env://", rank, size))
    _stores.append(store)
    if directory is not None:
        store.set(_key(), str(directory.absolute()))
    return Path(store.get(_key()).decode())


def _key() -> str:
    return f"cnnlab/{os.environ.get('TORCHELASTIC_RESTART_COUNT', 0)}/{len(_stores)}"


def shared_file(name: str, write: Callable[[Path], bool]) -> Path | None:
    """A file that the first process of this machine writes for all of them; None where there are no others, or no file.

    Args:
        name: of the file.
        write: writes it, and gives whether there is anything to share.
    """
    if GROUP in os.environ:  # whose first process began alone
        path = Path(os.environ[GROUP]) / name
        return path if path.is_file() or write(path) else None
    if not _stores:
        return None
    store, key = _stores[-1], f"{_key()}/{socket.gethostname()}/{name}"
    if int(os.environ.get("LOCAL_RANK", os.environ.get("SLURM_LOCALID", "0"))) == 0:
        folder = tempfile.TemporaryDirectory()
        _folders.append(folder)  # it goes with this process, which the others do not outlive
        path, written = Path(folder.name) / name, False
        try:
            written = write(path)
        finally:
            store.set(key, str(path) if written else "")
    store.wait([key], timedelta(hours=1))
    told = store.get(key).decode()
    return Path(told) if told else None


def device_count(trainer: Mapping[str, Any]) -> int:
    """Processes on this machine: one a device."""
    devices = trainer["devices"]
    if isinstance(devices, (list, tuple)):
        return len(devices)
    if devices in ("auto", -1):
        import torch

        on_gpu = trainer["accelerator"] in ("auto", "gpu", "cuda")
        return max(1, torch.cuda.device_count()) if on_gpu else 1
    return int(devices)


def launch(config: Mapping[str, Any], directory: Path, overrides: Sequence[str]) -> None:
    """Run `train` in a process group of its own and wait for it; signals are passed on.

    Raises:
        ValueError: it failed; the message is the cause it left in `run.json`.
        SystemExit, KeyboardInterrupt: it was stopped by a signal.
    """
    resumes = (directory / "checkpoints/last.ckpt").is_file()
    kept = read_json(directory / "run.json").get("threads") if resumes else None
    share = threads.for_run(kept, device_count(config["trainer"]))
    with tempfile.TemporaryDirectory() as folder:
        job = Path(folder) / "job.json"
        job.write_text(json.dumps({"config": config, "directory": str(directory), "overrides": list(overrides)}))
        process = subprocess.Popen(
            [sys.executable, "-m", "cnnlab.processes", str(job)],
            env={"OMP_NUM_THREADS": str(share), **os.environ, GROUP: folder},
            start_new_session=True,
        )
        before = {s: signal.signal(s, lambda s, _: os.killpg(process.pid, s)) for s in (signal.SIGINT, signal.SIGTERM)}
        try:
            status = process.wait()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            _kill_group(process.pid)
    if status == 130:
        raise KeyboardInterrupt
    if status == 143:
        raise SystemExit(143)
    if status != 0:
        raise ValueError(_left_cause(directory) or f"a process of {directory} ended with status {status}")


def _left_cause(directory: Path) -> str | None:
    """Why a run failed, as its first process wrote it down."""
    path = directory / "run.json"
    return read_json(path)["cause"] if path.is_file() else None


def _kill_group(group: int) -> None:
    """End what may be left of a process group."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)


def main() -> None:
    """One process of a run."""
    from cnnlab.config import EXPECTED
    from cnnlab.train import train

    job = json.loads(Path(sys.argv[1]).read_text())
    try:
        train(job["config"], Path(job["directory"]), job["overrides"])
    except KeyboardInterrupt:
        sys.exit(130)
    except EXPECTED:  # the cause is in run.json, and whoever started the processes says it, once
        sys.exit(1)


if __name__ == "__main__":
    main()
