"""Memory that a step frees stays with the process, for the next step."""

import ctypes
import sys

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
