"""Memory that is freed stays with the process: counted in page faults, in processes of their own."""

import os
import platform
import subprocess
import sys

import pytest

CODE = """
import resource
import torch
from genbench.train.memory import keep_freed_memory

if {keep}:
    assert keep_freed_memory()

def work():
    return [torch.ones(2**20) for _ in range(16)]  # 64 MiB, freed on return

work(); work()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    work()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(keep: bool) -> int:
    code = CODE.format(keep=keep)
    # Without it glibc raises its bound by what it has seen freed, and keeps memory or not, as the heap happens to lie.
    env = os.environ | {"MALLOC_MMAP_THRESHOLD_": "131072"}
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, env=env)
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other systems' allocators are left as they are")
def test_memory_that_is_freed_is_not_faulted_in_again() -> None:
    kept, given_back = faults(True), faults(False)
    # One tensor now and then finds its place taken: 1,024 faults, of the 164,000 of all that is allocated.
    assert kept < 2048
    assert given_back > 10 * max(kept, 1)
