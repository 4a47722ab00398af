"""Carries out runs on a Ray cluster, or on a local one: a task each, retried elsewhere where a worker is lost.

Ray is the extra `genbench[ray]`, and imported only where runs are carried out. Imports no torch.
"""

import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from genbench.errors import GenbenchError
from genbench.executors.dispatching import Dispatch
from genbench.executors.gathering import has_ended, marked
from genbench.executors.interface import Job, Terms, Watcher
from genbench.executors.ray_driver import Node, RayCluster, check_room, connected, has, import_ray
from genbench.executors.ray_task import Expected, Order, parts_of
from genbench.plugins import Plugins


@dataclass(frozen=True)
class RayExecutor:
    """Carries out each run as a task of Ray.

    A run whose worker is lost, be it killed or its node gone, is handed to another worker, and goes on there from its
    last checkpoint. Its folder's lock and its record see to it that no two processes train it and none does so twice.

    Attributes:
        terms: of all runs; `threads` is that of each, by default as many as `num_cpus`.
        address: of a cluster, as `auto` or HOST:PORT; None to start Ray on this machine alone.
        device: `auto`, `cpu`, `cuda` or `mps`: which GPU is Ray's to say.
        num_cpus: cores that a run takes up; fractions are allowed.
        num_gpus: GPUs that a run takes up, at most 1, such as 0.25 where four share one; None for one where a node has
            any and `device` allows it.
        retries: how often a run is handed out again after its worker was lost.
    """

    terms: Terms
    address: str | None = None
    device: str = "auto"
    num_cpus: float = 1.0
    num_gpus: float | None = None
    retries: int = 2

    def __post_init__(self) -> None:
        if not 0 < self.num_cpus < math.inf:
            raise GenbenchError(f"a run takes {self.num_cpus} CPUs", "give a number above 0, such as 0.5")
        if self.num_gpus is not None and not 0 <= self.num_gpus <= 1:
            raise GenbenchError(
                f"a run takes {self.num_gpus} GPUs, but trains on one at most",
                "give a number from 0 to 1; for one run on several GPUs see `torchrun` in docs/scaling.md",
            )
        if self.device not in ("auto", "cpu", "cuda", "mps"):
            raise GenbenchError(
                f"device `{self.device}`: Ray says which one a run gets", "give auto, cpu or cuda, and the GPUs per run"
            )
        if self.num_gpus and self.device == "cpu":
            raise GenbenchError(f"a run takes {self.num_gpus} GPUs, but its device is `cpu`", "drop one")
        if self.device == "cuda" and self.num_gpus == 0:
            raise GenbenchError("a run takes 0 GPUs, but its device is `cuda`", "drop one, or give a fraction")
        if self.retries < 0:
            raise GenbenchError(f"a run is retried {self.retries} times", "give 0 or more")

    def execute(self, jobs: Sequence[Job], watcher: Watcher, stop: Callable[[], bool]) -> None:
        """Carry out all jobs; as `Executor.execute`.

        Raises:
            GenbenchError: Ray is not installed, there is no such cluster, or its nodes can't carry out any run.
        """
        if not jobs:
            return
        ray = import_ray()
        terms = _absolute(self.terms, self.num_cpus)
        with marked(terms.runs) as mark, connected(ray, self.address):
            expected = Expected(parts_of(Plugins.load(), jobs), Path.cwd(), mark)
            gpus = self._gpus(ray.nodes())
            check_room(ray.nodes(), self.num_cpus, gpus)
            device = self._device(gpus)

            def order(number: int, attempt: int, job: Job) -> Order:
                return Order(number, attempt, job, terms, device, expected, has_ended(terms.runs, job.config))

            cluster = RayCluster(ray, order, self.num_cpus, gpus)
            if self.address is not None:
                cluster.check(expected)
            Dispatch(cluster, terms.runs, jobs, watcher, stop, self.retries).go()

    def _gpus(self, nodes: Sequence[Node]) -> float:
        if self.num_gpus is not None:
            return self.num_gpus
        if self.device == "cuda":
            return 1.0
        return float(self.device == "auto" and any(has(node, "GPU") for node in nodes))

    def _device(self, gpus: float) -> str:
        """Return torch's name of the device; runs never take a GPU that Ray did not give them, nor leave one unused."""
        if self.device != "auto":
            return self.device
        if not gpus:
            return "cpu"
        return "mps" if sys.platform == "darwin" else "cuda"


def _absolute(terms: Terms, num_cpus: float) -> Terms:
    """Return terms that say the same in another working folder, with the threads that a run's cores are for."""
    source = terms.source.absolute() if terms.source is not None else None
    threads = terms.threads if terms.threads is not None else max(1, math.floor(num_cpus))
    return replace(terms, runs=terms.runs.absolute(), cache=terms.cache.absolute(), source=source, threads=threads)
