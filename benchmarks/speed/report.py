"""What the timing scripts share: interleaved timing, and results as JSON with all that names the machine."""

import json
import os
import platform
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from genbench.store import write_atomic

SCHEMA = "genbench.speed/1"
ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "benchmarks" / "results" / "speed"
PACKAGES = ("genbench", "torch", "numpy")


def alternate(
    sides: Mapping[str, Callable[[], None]], repeats: int, clock: Callable[[], float] = time.perf_counter
) -> Mapping[str, list[float]]:
    """Time each side `repeats` times, A B A B …, after one round that isn't measured; return seconds by side.

    The n-th times of two sides were taken next to each other, so that whatever else the machine does falls on both.
    A side that computes on a GPU must wait for it. `time.process_time` as the clock counts this process's CPU seconds.
    """
    for side in sides.values():
        side()
    times: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(repeats):
        for name, side in sides.items():
            start = clock()
            side()
            times[name].append(clock() - start)
    return times


def ratio(slow: Sequence[float], fast: Sequence[float]) -> float:
    """Return how many times as long `slow` takes: the median, over rounds, of the quotient within a round."""
    return statistics.median(s / f for s, f in zip(slow, fast, strict=True))


def spread(values: Sequence[float]) -> dict[str, float]:
    """Return median, least and greatest, for the JSON."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def save(
    name: str,
    results: Mapping[str, object],
    *,
    device: str = "cpu",
    peers: Iterable[str] = (),
    folder: Path = RESULTS,
) -> Path:
    """Write `folder/NAME-<device>-<threads>.json` and return its path; an earlier file of that name is replaced.

    Args:
        name: of the script.
        results: anything that JSON has a form for; NaN and infinities are refused.
        device: torch's name of the device that was measured.
        peers: distributions whose versions are noted beside genbench's own.

    Raises:
        ValueError: a result is not finite.
        GenbenchError: the file can't be written.
    """
    machine = device_name(device)
    slug = re.sub(r"[^a-z0-9]+", "-", machine.lower()).strip("-")
    path = folder / f"{name}-{slug}-{threads()}-thread{'s' if threads() > 1 else ''}.json"
    content = {
        "schema": SCHEMA,
        "name": name,
        "date_utc": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "device": device,
        "device_name": machine,
        "cores": os.cpu_count(),
        "threads": threads(),
        "platform": platform.platform(),
        "versions": {"python": platform.python_version()} | {p: _version(p) for p in (*PACKAGES, *peers)},
        "git_commit": git_commit(),
        "results": results,
    }
    write_atomic(path, json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n")
    return path


def device_name(device: str) -> str:
    """Return the model of the processor or of the GPU, as it calls itself."""
    if device.partition(":")[0] == "cuda":
        import torch

        return torch.cuda.get_device_name(device)
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        found = re.search(r"^model name\s*:\s*(.+)$", cpuinfo.read_text(), re.MULTILINE)
        if found:
            return found[1].strip()
    return platform.processor() or platform.machine()


def threads() -> int:
    """Return how many CPU threads torch uses; where the script has not imported it, how many it would use."""
    torch = sys.modules.get("torch")
    if torch is not None:
        return int(torch.get_num_threads())
    asked = os.environ.get("OMP_NUM_THREADS", "")
    return int(asked) if asked.isdigit() else os.cpu_count() or 1


def git_commit() -> str | None:
    """Return the commit that was measured, `+` where tracked files differ from it; None outside a checkout."""
    try:
        commit = _git("rev-parse", "HEAD")
        return commit + ("+" if _git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):
        return None


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(ROOT), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()


def _version(package: str) -> str | None:
    if package == "torch" and "torch" in sys.modules:
        return str(sys.modules["torch"].__version__)  # its metadata leaves out which CUDA it was built for
    try:
        return version(package)
    except PackageNotFoundError:
        return None
