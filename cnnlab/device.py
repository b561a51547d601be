"""Choose the device, precision, number of threads and memory handling of a process.

A run takes as many threads as cores are free when it starts. The threads of an operation wait for each other at its
end, so that one without a core delays all: two runs with a thread per core each take many times as long as with half
as many. A user's OMP_NUM_THREADS, OMP_WAIT_POLICY and GOMP_SPINCOUNT take precedence.
"""

import ctypes
import os
import sys
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # from malloc.h of glibc
LARGE = (2**30, 2**25)  # bytes from which a freed block is returned all the same; older glibc takes only the second


def keep_freed() -> None:
    """Let this process keep freed blocks below 1 GiB for its next allocations.

    glibc's malloc returns large blocks to the kernel, which clears every page before it hands it out again. A training
    step allocates the same tens or hundreds of megabytes each time, and can spend a third of its time on that. Without
    glibc, and for GPU memory, nothing is done.
    """
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt") and any(libc.mallopt(M_MMAP_THRESHOLD, size) for size in LARGE):
        libc.mallopt(M_TRIM_THRESHOLD, -1)  # never trim; alone, this would be slower


SPINS = "10000"  # an idle thread yields its core after about 30 microseconds, instead of 1000
QUIET = 0.75  # share of free cores above which a run takes all, so that a run alone always computes the same


@dataclass(frozen=True)
class Moment:
    """Seconds of core time that have been used so far on the cores of this process."""

    clock: float
    by_all: float
    by_this: float  # by this process, and children that it has waited for

    @classmethod
    def now(cls) -> "Moment":
        """Read the kernel's counters; without them, assume that no other process uses the cores."""
        own = sum(os.times()[:4])
        try:
            lines = [line.split() for line in Path("/proc/stat").read_text().splitlines()]
            ticks = {name: [int(n) for n in rest[:8]] for name, *rest in lines if name.startswith("cpu")}
            used = [ticks[f"cpu{core}"][:3] + ticks[f"cpu{core}"][5:] for core in os.sched_getaffinity(0)]
        except (OSError, AttributeError, KeyError, ValueError, IndexError):
            return cls(time.monotonic(), own, own)
        # without the fourth and fifth counter: idle, and waiting for a disk
        return cls(time.monotonic(), sum(map(sum, used)) / os.sysconf("SC_CLK_TCK"), own)


_last = Moment.now()  # when cnnlab was imported, or the latest run started


def wait_briefly() -> None:
    """Let idle threads yield their cores early; takes effect only before OpenMP is loaded."""
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", SPINS)


def cores() -> int:
    """Count the cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@cache
def max_threads() -> int:
    """Return torch's number of threads, limited to the cores that affinity and the cgroup's quota allow."""
    import torch
    from joblib import cpu_count  # type: ignore[import-untyped]

    allowed: int = cpu_count()
    return min(torch.get_num_threads(), allowed)


def free_threads(wanted: int, cores: int, before: Moment, now: Moment) -> int:
    """Return for how many of the wanted threads a core was free between two moments: at least 1; all by QUIET."""
    others = (now.by_all - before.by_all) - (now.by_this - before.by_this)
    left = cores - others / max(now.clock - before.clock, 0.01)
    return wanted if left > QUIET * wanted else max(1, int(left))


def threads_for_run(kept: int | None = None, processes: int = 1) -> int:
    """Return the number of threads for each process of a run that starts.

    Args:
        kept: number of threads of the same run before it was stopped; kept so that the resumed run computes the same.
        processes: number of the run's processes on this machine.
    """
    import torch

    global _last
    before, _last = _last, Moment.now()
    if "OMP_NUM_THREADS" in os.environ:
        return torch.get_num_threads()
    if kept is not None and kept <= max_threads():
        return kept
    return max(1, free_threads(max_threads(), cores(), before, _last) // processes)


def resolve_precision(precision: str, accelerator: str) -> str:
    """Resolve the precision "auto": bf16-mixed where the hardware computes in bfloat16, else 32-true."""
    import torch

    if precision != "auto":
        return precision
    if accelerator in ("gpu", "cuda") or (accelerator == "auto" and torch.cuda.is_available()):
        native = torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        native = accelerator in ("cpu", "auto") and torch.cpu._is_avx512_bf16_supported()
    return "bf16-mixed" if native else "32-true"


def best_device() -> str:
    """Return the device on which torch computes fastest on this machine."""
    import torch

    return "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
