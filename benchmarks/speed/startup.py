"""Measure the CPU time, user and system, of the commands that must start fast: `python benchmarks/speed/startup.py`."""

import os
import statistics
import subprocess
import sys

COMMANDS = (["--help"], ["list"])
REPEATS = 11
LIMIT_S = 0.25


def cpu_s(arguments: list[str]) -> float:
    """Return the CPU seconds of one run of `genbench`, its interpreter's start included."""
    before = os.times()
    subprocess.run([sys.executable, "-m", "genbench", *arguments], check=True, capture_output=True)
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


def main() -> int:
    """Print the median of each command and return 1 where one is over the limit."""
    slow = False
    for arguments in COMMANDS:
        cpu_s(arguments)  # the first run may have to compile
        median = statistics.median(cpu_s(arguments) for _ in range(REPEATS))
        slow = slow or median >= LIMIT_S
        print(f"genbench {' '.join(arguments):8} {median:.3f} s of CPU time, median of {REPEATS} (limit {LIMIT_S} s)")
    return int(slow)


if __name__ == "__main__":
    sys.exit(main())
