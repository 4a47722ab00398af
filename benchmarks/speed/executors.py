"""Measure what executors add to a run: `executors.py [--save]`.

Some small runs (an MLP VAE on digits, 16 training images, no scores) are carried out one at a time: in this process
with nothing around them, by the local executor, and by Ray on this machine. A run's own time is its share of many minus
few runs in this process, where torch is imported already; an executor's overhead is its own share beyond that. What
executions take once, processes and imports included, is what is left of the few: the start. Sides take turns.
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from statistics import median

from report import alternate, save, spread

from genbench.executors.interface import Ended, Executor, Job, Terms
from genbench.executors.local import LocalExecutor
from genbench.executors.ray_cluster import RayExecutor
from genbench.plugins import Plugins
from genbench.resolution import RunRequest, resolve

LIMIT_S = 1.0
"""Seconds that an executor may add to a run."""
SETTINGS = ("network.kind=mlp", "network.width=0.05", "network.latent_size=4", "network.encoder_hidden=64")


class Quiet:
    """A watcher that only counts the runs that went well."""

    def __init__(self) -> None:
        self.well = 0

    def started(self, job: Job, where: str) -> None: ...
    def advanced(self, job: Job, images_seen: int) -> None: ...
    def said(self, job: Job, message: str) -> None: ...
    def ended(self, job: Job, how: Ended) -> None:
        self.well += how.status == "ok"


class InProcess:
    """Carries out runs in this very process, with nothing around them."""

    def __init__(self, terms: Terms) -> None:
        self.terms = terms

    def execute(self, jobs: Sequence[Job], watcher: Quiet, stop: Callable[[], bool]) -> None:
        from genbench.executors.carrying import carry_out

        for job in jobs:
            watcher.ended(job, carry_out(job, self.terms, "cpu", Silent(), stop))


class Silent:
    """Nobody who is told how a run goes."""

    def advanced(self, images_seen: int) -> None: ...
    def said(self, message: str) -> None: ...


def jobs(count: int) -> list[Job]:
    """Return small runs that differ in their seeds."""
    plugins = Plugins.load()
    request = RunRequest("vae", "digits", size=28, images=16, batch_size=8, evaluators=(), settings=SETTINGS)
    return [Job(f"run {seed}", resolve(plugins, replace(request, seed=seed))) for seed in range(count)]


def executors() -> Mapping[str, Callable[[Terms], Executor]]:
    """Return how to build each executor that there is, for one run at a time."""
    cores = os.cpu_count() or 1
    every: dict[str, Callable[[Terms], Executor]] = {
        "in one process": InProcess,  # type: ignore[dict-item] # it tells this script's own watcher alone
        "local": lambda terms: LocalExecutor(terms, "cpu"),
        "ray": lambda terms: RayExecutor(terms, None, "cpu", num_cpus=cores, num_gpus=0),
    }
    if find_spec("ray") is None:
        del every["ray"]
    return every


def side(build: Callable[[Terms], Executor], terms: Terms, todo: Sequence[Job]) -> Callable[[], None]:
    """Return what carries out all runs, each time in an empty store."""

    def execute() -> None:
        watcher = Quiet()
        with tempfile.TemporaryDirectory(dir=terms.runs) as store:
            build(replace(terms, runs=Path(store))).execute(todo, watcher, lambda: False)
        if watcher.well != len(todo):
            raise RuntimeError(f"{watcher.well} of {len(todo)} runs went well")

    return execute


def measure(few: int, many: int, repeats: int) -> dict[str, dict[str, list[float]]]:
    """Return for each executor the seconds of a run, beyond its own, and of the start, for each repetition."""
    todo = jobs(many)
    with tempfile.TemporaryDirectory() as folder:
        terms = Terms(Path(folder), Path(folder, "cache"), threads=1)
        sides = {
            (name, count): side(build, terms, todo[:count])
            for name, build in executors().items()
            for count in (few, many)
        }
        named = alternate({f"{name}, {count}": call for (name, count), call in sides.items()}, repeats)
    found: dict[str, dict[str, list[float]]] = {}
    own: list[float] = []
    for name in dict.fromkeys(name for name, _ in sides):
        pairs = list(zip(named[f"{name}, {few}"], named[f"{name}, {many}"], strict=True))
        each = [(much - little) / (many - few) for little, much in pairs]
        own = own or each
        found[name] = {
            "run_s": each,
            "overhead_s": [one - alone for one, alone in zip(each, own, strict=True)],
            "start_s": [little - few * one for (little, _), one in zip(pairs, each, strict=True)],
        }
    return found


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--few", type=int, default=2)
    parser.add_argument("--many", type=int, default=22)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--save", action="store_true", help="write the results to benchmarks/results/speed")
    args = parser.parse_args(arguments)
    if not 0 < args.few < args.many:
        parser.error("--few must be above 0 and below --many")
    return args


def main() -> int:
    """Measure, print, write what was asked for, and return 1 where an executor is over its limit."""
    args = parse()
    found = measure(args.few, args.many, args.repeats)
    print("| executor | seconds a run | beyond the run's own | start, once |\n|:--|--:|--:|--:|")
    for name, times in found.items():
        print("| " + " | ".join([name, *(f"{median(values):.3f}" for values in times.values())]) + " |")
    if args.save:
        results = {name: {key: spread(values) for key, values in times.items()} for name, times in found.items()}
        print(save("executors", {"executors": results, "limit_s": LIMIT_S}, peers=["ray"]))
    return int(any(median(times["overhead_s"]) >= LIMIT_S for times in found.values()))


if __name__ == "__main__":
    sys.exit(main())
