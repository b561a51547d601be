"""Coordinate the processes of a run, which torchrun, SLURM or `launch` has started."""

import os
import socket
import tempfile
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

_stores: list[Any] = []  # torch.distributed stores, one for each run; kept because a store closes with its object
_folders: list[Any] = []  # temporary folders, kept for the same reason


def in_process_group() -> bool:
    """Return whether torchrun, SLURM or `launch` has started this process as one of a group."""
    return "TORCHELASTIC_RUN_ID" in os.environ or int(os.environ.get("SLURM_NTASKS", "1")) > 1


def is_first_process() -> bool:
    """Return whether this process is the first of its run, or the only one."""
    rank = next((os.environ[k] for k in ("RANK", "LOCAL_RANK", "SLURM_PROCID") if k in os.environ), "0")
    return int(rank) == 0


def broadcast_directory(directory: Path | None) -> Path:
    """Broadcast the run directory of the first process; the others pass None and wait for it.

    They connect where torch.distributed will: at MASTER_ADDR and MASTER_PORT, from torchrun, or on SLURM Lightning.
    """
    from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
    from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
    from torch.distributed.rendezvous import rendezvous

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
    """Let this machine's first process write a file for all, and return its path; None without others or a file.

    Args:
        name: of the file.
        write: writes it, and returns whether there is anything to share.
    """
    if not _stores:
        return None
    store, key = _stores[-1], f"{_key()}/{socket.gethostname()}/{name}"
    if int(os.environ.get("LOCAL_RANK", os.environ.get("SLURM_LOCALID", "0"))) == 0:
        folder = tempfile.TemporaryDirectory()
        _folders.append(folder)  # removed when this process ends, which the others do not outlive
        path, written = Path(folder.name) / name, False
        try:
            written = write(path)
        finally:
            store.set(key, str(path) if written else "")
    store.wait([key], timedelta(hours=1))
    shared = store.get(key).decode()
    return Path(shared) if shared else None


def device_count(trainer: Mapping[str, Any]) -> int:
    """Return the number of processes on this machine: one for each device."""
    devices = trainer["devices"]
    if isinstance(devices, (list, tuple)):
        return len(devices)
    if devices in ("auto", -1):
        import torch

        on_gpu = trainer["accelerator"] in ("auto", "gpu", "cuda")
        return max(1, torch.cuda.device_count()) if on_gpu else 1
    return int(devices)


def clear_shared_files() -> None:
    """Remove the files of `shared_file`, for a process that ends without Python's own cleanup."""
    while _folders:
        _folders.pop().cleanup()
