"""How much memory one side of `fid.py` takes, measured in a process of its own."""

import multiprocessing
import os
import sys
from collections.abc import Callable
from pathlib import Path
from threading import Event, Thread

import torch

from genbench.execution import peak_memory_bytes

STATUS = Path("/proc/self/status")
PAUSE_S = 0.005
SETTINGS = {"MALLOC_MMAP_THRESHOLD_": str(2**18), "MALLOC_ARENA_MAX": "1"}
"""Let glibc hand back at once what is freed: else its free lists are most of what is measured, and differ each time."""


def peak_of(work: Callable[[], None]) -> int:
    """Return the most memory, in bytes, that a new process holds while it does the work, which must pickle.

    Where the kernel tells it, files mapped into memory are left out: the prepared images, and libraries.
    """
    before = {key: os.environ.get(key) for key in SETTINGS}
    os.environ.update(SETTINGS)
    try:
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            peak = pool.apply(_watched, (work,))
            pool.close()
            pool.join()
    finally:
        for key, value in before.items():
            os.environ.pop(key)
            if value is not None:
                os.environ[key] = value
    return peak


def _watched(work: Callable[[], None]) -> int:
    if sys.platform != "linux":
        work()
        return peak_memory_bytes(torch.device("cpu"))
    peaks, done = [0], Event()

    def watch() -> None:
        while not done.wait(PAUSE_S):
            peaks[0] = max(peaks[0], _own())

    watcher = Thread(target=watch)
    watcher.start()
    try:
        work()
    finally:
        done.set()
        watcher.join()
    return peaks[0]


def _own() -> int:
    """Return the bytes that this process holds and no file does."""
    (line,) = (line for line in STATUS.read_text().splitlines() if line.startswith("RssAnon"))
    return int(line.split()[1]) * 1024
