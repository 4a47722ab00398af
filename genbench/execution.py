"""The machine that a run is executed on: the choice of device, and what the record says of it."""

import platform
import re
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import torch

from genbench.errors import GenbenchError, first_line
from genbench.records import Execution

PACKAGES = ("genbench", "numpy", "pillow", "torch", "torch-fidelity", "torchvision")


def choose_device(name: str) -> torch.device:
    """Return the device of that name; `auto` takes CUDA, then Apple's MPS, then the CPU.

    Raises:
        GenbenchError: torch knows no such device, or it is not there.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise GenbenchError(
            f"--device {name} can't be used: {first_line(error)}", "--device auto, or cpu, cuda, cuda:1, mps"
        ) from error
    return device


@dataclass(frozen=True)
class How:
    """How the steps of a run were executed; see `Execution`."""

    engine: str = "eager"
    precision: str = "float32"
    fallback: str | None = None
    images: str | None = None
    processes: int = 1


def describe_execution(device: torch.device, how: How) -> Execution:
    """Return how and on what a run was executed."""
    return Execution(
        device=str(device),
        device_name=torch.cuda.get_device_name(device) if device.type == "cuda" else _processor(),
        **asdict(how),
        threads=torch.get_num_threads(),
        platform=platform.platform(),
        versions={"python": platform.python_version()}
        | {package: version(package) for package in PACKAGES}
        | {"torch": str(torch.__version__)},  # its metadata leaves out which CUDA it was built for
        git_commit=_git_commit(),
    )


def _processor() -> str:
    """Return the processor's model, where the system tells it."""
    told = Path("/proc/cpuinfo")
    found = re.search(r"^model name\s*:\s*(.+)$", told.read_text(), re.MULTILINE) if told.exists() else None
    return found[1].strip() if found else platform.processor() or platform.machine()


@contextmanager
def telling_what_takes_less_memory() -> Iterator[None]:
    """Turn a device's lack of memory into an error that says what takes less of it."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise GenbenchError(
            f"the device is out of memory: {' '.join(str(error).split())}",
            "a smaller --batch-size or --width takes less; where other programs hold the memory, the same command "
            "goes on once it is free",
            exit_code=1,
        ) from error


def peak_memory_bytes(device: torch.device) -> int:
    """Return the most memory this process has held: on the GPU where it computes on one, else resident."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return resident if sys.platform == "darwin" else resident * 1024


def _git_commit() -> str | None:
    """Return the commit of the checkout that runs, `+` where it has changes; None for an installed copy."""
    root = Path(__file__).parents[1]
    if not (root / ".git").exists():
        return None
    try:
        commit = _git(root, "rev-parse", "HEAD")
        return commit + ("+" if _git(root, "status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):
        return None


def _git(root: Path, *arguments: str) -> str:
    done = subprocess.run(  # noqa: S603
        ["git", "-C", str(root), *arguments],  # noqa: S607
        capture_output=True,
        text=True,
        timeout=5,
        check=True,
    )
    return done.stdout.strip()
