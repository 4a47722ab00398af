"""The driver's side of Ray: connecting, examining the nodes, and handing tasks to them.

Ray is the extra `genbench[ray]`, and imported only where runs are carried out. Imports no torch.
"""

import logging
import math
import os
import pickle
import signal
import socket
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib import import_module
from time import sleep
from typing import Any

from genbench import __version__
from genbench.errors import GenbenchError, first_line, in_one_line
from genbench.executors.dispatching import Done, Letter, Lost
from genbench.executors.interface import Ended, Job
from genbench.executors.ray_task import Expected, Mailbox, Order, examine, work

POLL_S = 0.2
"""Seconds between two looks at the tasks and the mailbox."""
ANSWER_S = 120.0
"""How long a node may take to say what it has; one that is silent is left to Ray."""
OBJECTS_BYTES = 100 * 2**20
"""Shared memory of a local Ray: what tasks hand over is small."""
CONNECT_S = 10.0
"""Seconds that a cluster's head has for answering at all."""
HINT = "`ray status` tells of a cluster, `ray start --head` starts one; Ray and RAY_AUTH_MODE are the same everywhere"

Node = Mapping[str, Any]
"""As `ray.nodes` describes it."""


class RayCluster:
    """Ray as what carries out runs; a ticket is Ray's reference to a task's end.

    Args:
        ray: the module, connected.
        order: makes what is handed to a node of a job's number, attempt and the job.
        cpus: of each run.
        gpus: of each run.
    """

    def __init__(self, ray: Any, order: Callable[[int, int, Job], Order], cpus: float, gpus: float) -> None:
        self.ray = ray
        self.order = order
        self.cpus = cpus
        self.gpus = gpus
        self.mailbox = _start_mailbox(ray)
        # A process carries out one run after the other, but only one on a GPU, whose context an error may leave broken.
        # Retries are not left to Ray, since the watcher is to know of them.
        calls = 1 if gpus else 0
        self.task = ray.remote(num_cpus=cpus, num_gpus=gpus, max_retries=0, max_calls=calls)(work)

    def check(self, expected: Expected) -> None:
        """Ask each node whether it has what the runs need, before each run that it gets fails there.

        Raises:
            GenbenchError: one has not, or nobody keeps the letters.
        """
        nodes = [node for node in self.ray.nodes() if runs_at_once(node, self.cpus, self.gpus)]
        task = self.ray.remote(num_cpus=0, max_retries=0)(examine)
        packed = pickle.dumps(expected)
        asked = {task.options(scheduling_strategy=_on(n["NodeID"])).remote(__version__, packed): n for n in nodes}
        ready, _ = self.ray.wait(list(asked), num_returns=len(asked), timeout=ANSWER_S)
        problems = [problem for answer in ready if (problem := self._problem(answer, asked[answer])) is not None]
        if problems:
            raise GenbenchError(f"Ray cluster: {problems[0]}", f"{len(problems)} of {len(nodes)} nodes are not fit")
        try:
            self.ray.get(self.mailbox.stopping.remote(), timeout=ANSWER_S)
        except self.ray.exceptions.RayError as error:
            raise GenbenchError(f"Ray cluster: no actor can be started here: {in_one_line(error)}", HINT) from error

    def _problem(self, answer: Any, node: Node) -> str | None:
        try:
            problem: str | None = self.ray.get(answer)
        except (self.ray.exceptions.RayError, RuntimeError, ImportError) as error:
            name = node["NodeManagerHostname"]
            return f"node {name} can't run genbench: {in_one_line(error)}: install it there"
        return problem

    def room(self) -> int:
        return sum(runs_at_once(node, self.cpus, self.gpus) for node in self.ray.nodes())

    def hand_out(self, number: int, attempt: int, job: Job) -> Any:
        order = self.order(number, attempt, job)
        return self.task.options(name=f"genbench: {job.label}").remote(__version__, pickle.dumps(order), self.mailbox)

    def wait(self, tickets: Collection[Any]) -> Sequence[Any]:
        if not tickets:
            sleep(POLL_S)
            return []
        ready, _ = self.ray.wait(list(tickets), timeout=POLL_S)
        if ready:
            ready, _ = self.ray.wait(list(tickets), num_returns=len(tickets), timeout=0)
        return list(ready)

    def letters(self, stopping: bool) -> Sequence[Letter]:
        try:
            return list(self.ray.get(self.mailbox.empty.remote(stopping)))
        except self.ray.exceptions.RayError:  # it is being started again
            sleep(POLL_S)
            return []

    def take(self, ticket: Any) -> Done:
        try:
            done: Done = self.ray.get(ticket)
        except self.ray.exceptions.RayTaskError as error:
            return Done(Ended("failed", f"the task failed: {in_one_line(error.cause)}"))
        except self.ray.exceptions.RayError as error:
            raise Lost(in_one_line(error)) from error
        return done

    def drop(self, tickets: Collection[Any]) -> None:
        for ticket in tickets:
            with suppress(self.ray.exceptions.RayError):
                self.ray.cancel(ticket, force=True)


def import_ray() -> Any:
    """Return Ray's module, that keeps silent.

    Raises:
        GenbenchError: it is not installed.
    """
    try:
        # Ray prints what happens to workers on stdout, which is for data; the watcher is told of it in any case.
        with _told("RAY_DEDUP_LOGS_SKIP_REGEX", "^"):
            return import_module("ray")
    except ImportError as error:
        missing = "is not installed" if isinstance(error, ModuleNotFoundError) and error.name == "ray" else str(error)
        raise GenbenchError(f"executor `ray`: Ray {missing}", "pip install 'genbench[ray]'") from error


@contextmanager
def connected(ray: Any, address: str | None) -> Iterator[None]:
    """Connect to a cluster, or start Ray on this machine, silently; one that this process is connected to stays.

    Raises:
        GenbenchError: there is no such cluster.
    """
    if ray.is_initialized():
        yield
        return
    if address is not None:
        _check_address(os.environ.get("RAY_ADDRESS") or address if address == "auto" else address)
    try:
        with _own_signals(), _told("RAY_USAGE_STATS_ENABLED", "0"):
            if address is None:
                ray.init("local", include_dashboard=False, object_store_memory=OBJECTS_BYTES, **_quiet())
            else:
                ray.init(address, **_quiet())
    except Exception as error:  # Ray raises whatever it likes, such as Exception where a busy machine is too slow
        where = "on this machine" if address is None else f"at {address}"
        raise GenbenchError(f"no Ray {where}: {first_line(error)}", HINT) from error
    try:
        yield
    finally:
        ray.shutdown()


def _check_address(address: str) -> None:
    """Refuse an address at which nobody answers: Ray itself would try for minutes, and talk of it.

    Raises:
        GenbenchError: nobody answers, or it is none.
    """
    if address == "auto":
        return
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or "://" in address:
        raise GenbenchError(
            f"{address}: not the address of a Ray cluster's head",
            "give HOST:PORT, or auto on a node of the cluster; Ray's client (ray://) is not supported",
        )
    try:
        socket.create_connection((host.strip("[]"), int(port)), CONNECT_S).close()
    except (OSError, OverflowError) as error:
        raise GenbenchError(f"no Ray at {address}: {first_line(error)}", HINT) from error


def _quiet() -> dict[str, Any]:
    return {"log_to_driver": False, "logging_level": logging.ERROR}


@contextmanager
def _own_signals() -> Iterator[None]:
    """Keep the handler of SIGTERM, which Ray replaces: the suite saves its runs on that signal."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handler = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, handler)


@contextmanager
def _told(name: str, value: str) -> Iterator[None]:
    """Set a variable of the environment, the one way to tell Ray some things, for as long as it takes."""
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def _start_mailbox(ray: Any) -> Any:
    """Start the mailbox on this machine; one that dies is started again, and lacks a few letters."""
    actor = ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)(Mailbox)
    return actor.options(scheduling_strategy=_on(ray.get_runtime_context().get_node_id())).remote()


def _on(node_id: str) -> Any:
    strategies = import_module("ray.util.scheduling_strategies")
    return strategies.NodeAffinitySchedulingStrategy(node_id, soft=False)


def check_room(nodes: Sequence[Node], cpus: float, gpus: float) -> None:
    """Refuse runs that no node can take.

    Raises:
        GenbenchError: there is none.
    """
    if not any(runs_at_once(node, cpus, gpus) for node in nodes):
        largest = f"{max((has(n, 'CPU') for n in nodes), default=0):g} CPUs"
        most = f"{max((has(n, 'GPU') for n in nodes), default=0):g} GPUs"
        raise GenbenchError(
            f"no node of the Ray cluster has {cpus:g} CPUs and {gpus:g} GPUs for a run; the most are {largest}, {most}",
            "ask for less, or start a node that has them: `ray start --address HOST:PORT`",
        )


def runs_at_once(node: Node, cpus: float, gpus: float) -> int:
    """Return how many runs fit on a node that does nothing else."""
    # Ray counts in units of 1/10,000, which the least excess of a float must not round down.
    return math.floor(min(has(node, "CPU") / cpus, has(node, "GPU") / gpus if gpus else math.inf) + 1e-4)


def has(node: Node, resource: str) -> float:
    """Return how much of `CPU` or `GPU` a node has; of one that is gone, none."""
    return float(node["Resources"].get(resource, 0.0)) if node["Alive"] else 0.0
