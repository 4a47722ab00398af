"""What a process does between two runs, so that the second finds what it would find in a process of its own."""

import ctypes
import gc
import platform
import sys
from contextlib import suppress
from pathlib import Path

import torch


def free_memory() -> None:
    """Give back what a run held, and begin anew to count the most memory held.

    Other systems than Linux count over the whole life of a process, so there a later run's peak is that of all before.
    """
    if "torch._dynamo" in sys.modules:  # it stops compiling a function that it has compiled a few times
        torch._dynamo.reset()
    gc.collect()
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.empty_cache()
        for index in range(torch.cuda.device_count()):
            torch.cuda.reset_peak_memory_stats(index)
    if torch.backends.mps.is_available():
        torch.mps.empty_cache()
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)  # a run has it keep what is freed
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # proc(5): the peak of resident memory starts from what it is now
