"""Which processes train this run, and what they agree on: torchrun, SLURM or `launch` has started them."""

import os
import socket
import tempfile
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

_stores: list[Any] = []  # of the runs that a cluster's processes have agreed on; one ends with the object
_folders: list[Any] = []  # likewise


def joined() -> bool:
    """Whether torchrun, SLURM or `launch` has started this process, with others."""
    return "TORCHELASTIC_RUN_ID" in os.environ or int(os.environ.get("SLURM_NTASKS", "1")) > 1


def first() -> bool:
    """Whether this process is the first of its run, or the only one."""
    rank = next((os.environ[k] for k in ("RANK", "LOCAL_RANK", "SLURM_PROCID") if k in os.environ), "0")
    return int(rank) == 0


def agree(directory: Path | None) -> Path:
    """Agree on the run directory of the first process, which gives it; the others, which do not, wait to be told.

    They meet where torch.distributed will: at MASTER_ADDR and MASTER_PORT, as torchrun or Lightning's reading of SLURM
    has them.
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
    """Share a file that this machine's first process writes for all; None where there are no others, or no file.

    Args:
        name: of the file.
        write: writes it, and gives whether there is anything to share.
    """
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
    """Count the processes on this machine: one a device."""
    devices = trainer["devices"]
    if isinstance(devices, (list, tuple)):
        return len(devices)
    if devices in ("auto", -1):
        import torch

        on_gpu = trainer["accelerator"] in ("auto", "gpu", "cuda")
        return max(1, torch.cuda.device_count()) if on_gpu else 1
    return int(devices)


def clear_shared_files() -> None:
    """Remove what `shared_file` has written, for a process that ends without Python's own end."""
    while _folders:
        _folders.pop().cleanup()
