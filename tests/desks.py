"""A working folder for tests that give commands."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

OTHERS = ("GENBENCH_RUNS", "GENBENCH_DATA", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "COLUMNS")
"""What whoever runs the tests may have set."""


@contextmanager
def at_desk(folder: Path, cache: Path) -> Iterator[Path]:
    """Work in a folder, with a cache and no settings of anybody's; put the number of threads back afterwards."""
    threads = torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("GENBENCH_CACHE", str(cache))
        for name in OTHERS:
            patch.delenv(name, raising=False)
        yield folder
    torch.set_num_threads(threads)
