"""What a process computes on: its device, precision, threads and memory.

Threads: as many as cores are free when a run starts. The threads of an operation wait for each other at its end; one
whose core is taken lets all of them wait, and two runs with a thread for every core take many times as long as with
half of them. What the user has set in OMP_NUM_THREADS, OMP_WAIT_POLICY and GOMP_SPINCOUNT stands.
"""

import ctypes
import os
import sys
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # as malloc.h of glibc has them
LARGE = (2**30, 2**25)  # bytes of a block that is given back all the same; older glibc takes no more than the latter


def keep_freed() -> None:
    """Let this process keep what it frees, in blocks below 1 GiB, until it ends.

    glibc's malloc gives large blocks back to the kernel, which clears every page before it gives one anew. A network's
    step asks for the same tens or hundreds of megabytes each time, and can spend a third of its time on that. Elsewhere
    than on glibc nothing is done, nor for what is on a GPU.
    """
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt") and any(libc.mallopt(M_MMAP_THRESHOLD, size) for size in LARGE):
        libc.mallopt(M_TRIM_THRESHOLD, -1)  # never; by itself it would make things worse


SPINS = "10000"  # a thread that waits for work gives its core away after some 30 microseconds; by itself after 1000
QUIET = 0.75  # of the cores: where as many are free, all are taken, so that a run alone always computes the same


@dataclass(frozen=True)
class Moment:
    """Seconds of core time that have been used so far, on the cores of this process."""

    clock: float
    by_all: float
    by_this: float  # process, and those it has waited for

    @classmethod
    def now(cls) -> "Moment":
        """Read what the kernel counts; where it does not tell, as if no other process used any."""
        own = sum(os.times()[:4])
        try:
            lines = [line.split() for line in Path("/proc/stat").read_text().splitlines()]
            ticks = {name: [int(n) for n in rest[:8]] for name, *rest in lines if name.startswith("cpu")}
            used = [ticks[f"cpu{core}"][:3] + ticks[f"cpu{core}"][5:] for core in os.sched_getaffinity(0)]
        except (OSError, AttributeError, KeyError, ValueError, IndexError):
            return cls(time.monotonic(), own, own)
        # what is left out are the fourth and fifth: idle, and idle until a disk answers
        return cls(time.monotonic(), sum(map(sum, used)) / os.sysconf("SC_CLK_TCK"), own)


_last = Moment.now()  # when cnnlab was imported, or a run started


def wait_briefly() -> None:
    """Let threads that wait give their cores away early; for the OpenMP that is loaded from here on."""
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", SPINS)


def cores() -> int:
    """Count the cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@cache
def most() -> int:
    """Count the threads that torch would take, no more than affinity and the cgroup's quota leave to this process."""
    import torch
    from joblib import cpu_count  # type: ignore[import-untyped]

    allowed: int = cpu_count()
    return min(torch.get_num_threads(), allowed)


def free(wanted: int, cores: int, before: Moment, now: Moment) -> int:
    """Count the wanted threads that find a core that no other process used in between: at least 1, all by QUIET."""
    others = (now.by_all - before.by_all) - (now.by_this - before.by_this)
    left = cores - others / max(now.clock - before.clock, 0.01)
    return wanted if left > QUIET * wanted else max(1, int(left))


def for_run(kept: int | None = None, processes: int = 1) -> int:
    """Count the threads with which each process of a run that starts computes.

    Args:
        kept: of the same run, before it was stopped; it resumes with as many, so that it computes the same.
        processes: of the run, on this machine.
    """
    import torch

    global _last
    before, _last = _last, Moment.now()
    if "OMP_NUM_THREADS" in os.environ:
        return torch.get_num_threads()
    if kept is not None and kept <= most():
        return kept
    return max(1, free(most(), cores(), before, _last) // processes)


def resolve_precision(precision: str, accelerator: str) -> str:
    """Return what "auto" stands for: bf16-mixed where the hardware computes in bfloat16, else 32-true."""
    import torch

    if precision != "auto":
        return precision
    if accelerator in ("gpu", "cuda") or (accelerator == "auto" and torch.cuda.is_available()):
        native = torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        native = accelerator in ("cpu", "auto") and torch.cpu._is_avx512_bf16_supported()
    return "bf16-mixed" if native else "32-true"


def best_device() -> str:
    """Return where torch computes fastest on this machine."""
    import torch

    return "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
