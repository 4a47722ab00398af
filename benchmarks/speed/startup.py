"""Measure how fast things start, commands that list and a run on prepared data: `startup.py [--data CELEBA_FOLDER]`.

- CPU seconds, user and system, of the commands that must start fast; they leave torch alone;
- seconds on the clock from the start of the process `genbench run vaegan …` to its first training step, imports, the
  check of the data, and the similarity's weight included, and to that step's end;
- the same for the imports alone that a training script needs, pythae's and genbench's, and torch's, which both need.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from statistics import median

from report import save, spread

LISTINGS: Mapping[str, float] = {"--help": 0.25, "list": 0.25}
"""Commands, and the CPU seconds that they may take."""
FIRST_STEP_S = 5.0
"""Seconds in which a run on prepared data must reach its first step."""
IMPORTS: Mapping[str, str] = {
    "import torch": "import torch",
    "import pythae's VAEGAN and trainer": "from pythae.models import VAEGAN; "
    "from pythae.trainers import CoupledOptimizerAdversarialTrainer",
    "import genbench's pipeline": "import genbench.pipeline",
}
PLUGIN = """
import genbench

@genbench.hookimpl
def genbench_models():
    yield genbench.ModelSpec("clocked", "vaegan that tells the time", "clocked:Clocked",
        "genbench_vaegan.settings:VaeGanSettings", similarity="dis-l", discriminator=True)
"""
MODEL = """
import os
import time
from genbench_vaegan.model import VaeGan

class Clocked(VaeGan):
    steps = 0

    def gradients(self, batch):
        Clocked.steps += 1
        print("STEP", time.time(), flush=True)
        if Clocked.steps == 2:
            os._exit(0)
        return super().gradients(batch)
"""


@dataclass(frozen=True)
class Spent:
    """What one process took, in seconds: on the clock, and of the CPU, user and system."""

    wall_s: float
    cpu_s: float


def time_process(arguments: Sequence[str]) -> Spent:
    """Run Python with these arguments; its own start is included."""
    before, start = os.times(), time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, capture_output=True)
    wall_s, after = time.perf_counter() - start, os.times()
    cpu_s = after.children_user + after.children_system - before.children_user - before.children_system
    return Spent(wall_s, cpu_s)


def time_first_step(folder: Path, data: Path | None, number: int) -> tuple[float, float]:
    """Return the seconds from a run's start to the beginning and to the end of its first step.

    Args:
        folder: with the plugin whose model tells the time.
        number: gives the run a folder of its own, so that it begins anew.
    """
    what = ["celeba", "--data", str(data)] if data else ["toyfaces"]
    options = ["--size", "32", "--width", "0.25", "--evaluators", "none", "--device", "cpu", "--runs", f"runs-{number}"]
    command = [sys.executable, "-m", "genbench", "run", "clocked", *what, *options]
    start = time.time()
    done = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
    begun, ended = (float(line.split()[1]) - start for line in done.stdout.splitlines() if line.startswith("STEP"))
    return begun, ended


def measure_listings(repeats: int) -> dict[str, list[float]]:
    """Print the median CPU seconds of each listing command, and return all of them."""
    listings = {}
    for command, limit in LISTINGS.items():
        time_process(["-m", "genbench", command])  # the first run may have to compile
        listings[command] = [time_process(["-m", "genbench", command]).cpu_s for _ in range(repeats)]
        print(f"{f'genbench {command}':49} {median(listings[command]):6.3f} s of CPU time (limit {limit} s)")
    return listings


def measure_imports(repeats: int) -> dict[str, list[Spent]]:
    """Print the median seconds of each import, taken in turns, and return all of them."""
    present = {name: code for name, code in IMPORTS.items() if "pythae" not in code or find_spec("pythae")}
    imports: dict[str, list[Spent]] = {name: [] for name in present}
    for turn in range(repeats + 1):
        for name, code in present.items():
            spent = time_process(["-c", code])
            if turn:  # the first may have to compile, and to read from the disk
                imports[name].append(spent)
    for name, spent_by in imports.items():
        wall_s, cpu_s = median(s.wall_s for s in spent_by), median(s.cpu_s for s in spent_by)
        print(f"{name:49} {wall_s:6.3f} s, {cpu_s:.3f} s of CPU time")
    return imports


def measure_first_step(repeats: int, data: Path | None) -> dict[str, list[float]]:
    """Print the median seconds to a run's first step, its data prepared, and return all of them."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "genbenchfile.py").write_text(PLUGIN)
        (folder / "clocked.py").write_text(MODEL)
        time_first_step(folder, data, 0)  # prepares the data
        times = [time_first_step(folder, data, number) for number in range(1, repeats + 1)]
    begun, done = [b for b, _ in times], [d for _, d in times]
    print(f"{'genbench run vaegan, to its first step':49} {median(begun):6.3f} s (limit {FIRST_STEP_S} s)")
    print(f"{'genbench run vaegan, to the end of that step':49} {median(done):6.3f} s")
    return {"first_step_begun_s": begun, "first_step_done_s": done}


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder with CelebA; without it, toy faces are drawn")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--save", action="store_true", help="write the results to benchmarks/results/speed")
    return parser.parse_args(arguments)


def main() -> int:
    """Measure, print, write what was asked for, and return 1 where something is over its limit."""
    args = parse()
    listings = measure_listings(args.repeats)
    imports = measure_imports(args.repeats)
    run = measure_first_step(args.repeats, args.data)
    if args.save:
        results = {
            "listings_cpu_s": {command: spread(times) for command, times in listings.items()},
            "imports_s": {name: spread([s.wall_s for s in spent]) for name, spent in imports.items()},
            "imports_cpu_s": {name: spread([s.cpu_s for s in spent]) for name, spent in imports.items()},
            "run": {name: spread(times) for name, times in run.items()},
            "dataset": "celeba" if args.data else "toyfaces",
            "limits_s": {**LISTINGS, "first_step_begun_s": FIRST_STEP_S},
        }
        print(save("startup", results, peers=["pythae"]))
    slow = [command for command, times in listings.items() if median(times) >= LISTINGS[command]]
    return int(bool(slow) or median(run["first_step_begun_s"]) >= FIRST_STEP_S)


if __name__ == "__main__":
    sys.exit(main())
