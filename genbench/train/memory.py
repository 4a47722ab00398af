"""Memory that a step frees is the next step's: it must not go back to the system in between."""

import ctypes
import platform

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
"""What mallopt calls them (`malloc.h`)."""
FREED_BYTES = 2**31 - 1
LARGE_BYTES = 2**25
"""The most that glibc takes."""


def keep_freed_memory() -> bool:
    """Have glibc keep what this process frees, up to 2 GiB, instead of handing it back; say whether it does.

    A training step on a CPU allocates and frees the same hundreds of MiB each time. Handed back to the system, they
    come again page by page, zeroed: thousands of faults a step, a tenth of its time (docs/performance.md). Other
    systems' allocators are left as they are.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    libc = ctypes.CDLL(None)
    return bool(libc.mallopt(TRIM_THRESHOLD, FREED_BYTES)) and bool(libc.mallopt(MMAP_THRESHOLD, LARGE_BYTES))
