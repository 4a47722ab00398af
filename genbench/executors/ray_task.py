"""What runs on the nodes of a Ray cluster: the task that carries out one run, and the actor that holds its letters.

Imports neither torch nor Ray: both are imported where they are needed, on the node.
"""

import os
import pickle
import socket
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from threading import Event
from typing import Any

from genbench import __version__
from genbench.errors import GenbenchError
from genbench.executors.dispatching import Done, Letter
from genbench.executors.gathering import apart, has_ended, sees
from genbench.executors.interface import Ended, Job, Terms
from genbench.pairing import parts_of as similarity_parts
from genbench.plugins import Kind, Plugins
from genbench.store import folder_in, read_record

ASK_S = 1.0
"""Seconds between two questions of a run whether it is to stop."""


@dataclass(frozen=True)
class Part:
    """A plugin's part that a run names, and where the one who asks for the run has it from."""

    kind: Kind
    name: str
    distribution: str
    version: str


@dataclass(frozen=True)
class Expected:
    """What a node must have, so that it can stand in for any other.

    Attributes:
        parts: that the runs name.
        here: the working folder of the one who asks, where a `genbenchfile.py` may be.
        mark: in the store.
    """

    parts: tuple[Part, ...]
    here: Path
    mark: Path


@dataclass(frozen=True)
class Order:
    """A run as it is handed to a node.

    Attributes:
        number: of the job, which its letters bear.
        attempt: how often a worker was lost with it.
        ended: whether the store has its weights and a record, to which scores are to be added.
    """

    number: int
    attempt: int
    job: Job
    terms: Terms
    device: str
    expected: Expected
    ended: bool


class Mailbox:
    """An actor between the tasks, which leave letters, and the one who asked for them, who says whether to stop."""

    def __init__(self) -> None:
        self.letters: list[Letter] = []
        self.stop = False

    def begin(self, letter: Letter) -> bool:
        """Take the first letter of a run, and say whether it may begin."""
        if not self.stop:
            self.letters.append(letter)
        return not self.stop

    def put(self, letter: Letter) -> None:
        """Take a letter."""
        self.letters.append(letter)

    def stopping(self) -> bool:
        """Say whether runs are to stop."""
        return self.stop

    def empty(self, stop: bool) -> list[Letter]:
        """Hand out all letters in their order; tell the runs whether to stop."""
        self.stop = stop
        taken, self.letters = self.letters, []
        return taken


class Sender:
    """Tells the mailbox of a run, and hears from it whether to stop.

    Whatever waits for an answer does so in a thread: while a task's main thread waits, Ray gives its cores to another
    task, which then stays.
    """

    def __init__(self, mailbox: Any, order: Order) -> None:
        self.ray: Any = import_module("ray")
        self.mailbox = mailbox
        self.blank = Letter(order.number, order.attempt, "said")
        self.threads = ThreadPoolExecutor(2, "mailbox")
        self.closed = Event()
        self.stop = False
        self.last: Any = None

    def begin(self) -> bool:
        """Say that the run begins, and where; return whether it may."""
        letter = replace(self.blank, kind="begun", text=_where())
        may = self.threads.submit(lambda: bool(self.ray.get(self.mailbox.begin.remote(letter)))).result()
        self.threads.submit(self._listen)
        return may

    def advanced(self, images_seen: int) -> None:
        self.last = self.mailbox.put.remote(replace(self.blank, kind="advanced", images_seen=images_seen))

    def said(self, message: str) -> None:
        self.last = self.mailbox.put.remote(replace(self.blank, text=message))

    def stopped(self) -> bool:
        """Say whether to stop, as last heard."""
        return self.stop

    def close(self) -> None:
        """Wait until the last letter has come in, since the run's end must not overtake it."""
        self.closed.set()
        if self.last is not None:
            self.threads.submit(self._wait_for, self.last).result()
        self.threads.shutdown()

    def _listen(self) -> None:
        while not self.closed.wait(ASK_S):
            with suppress(self.ray.exceptions.RayError):  # the mailbox is being started again
                self.stop = bool(self.ray.get(self.mailbox.stopping.remote(), timeout=ASK_S))

    def _wait_for(self, letter: Any) -> None:
        with suppress(self.ray.exceptions.RayError):
            self.ray.get(letter)


def work(version: str, packed: bytes, mailbox: Any) -> Done:
    """Carry out a run on this node.

    Args:
        version: genbench's, of the one who asks; nothing of another version is unpacked.
        packed: the pickled order, which comes from Ray's own driver as this very function does.
        mailbox: handle of the actor.
    """
    if version != __version__:
        return Done(Ended("failed", _other_version(version)))
    order: Order = pickle.loads(packed)  # noqa: S301
    sender = Sender(mailbox, order)
    try:
        return _carry_out(order, sender) if sender.begin() else Done(Ended("stopped"))
    finally:
        sender.close()


def _carry_out(order: Order, sender: Sender) -> Done:
    _go_to(order.expected.here)
    problem = _other_parts(order.expected.parts)
    if problem is not None:
        return Done(Ended("failed", problem))
    shared = sees(order.expected.mark)
    terms = order.terms if shared else apart(order.terms)
    if not shared and order.ended and not has_ended(terms.runs, order.job.config):
        reason = f"{_node()}: the run's weights are in a store that this node does not share"
        return Done(Ended("failed", f"{reason}; score it with `genbench evaluate` where they are"))
    if not shared:
        sender.said(f"{_node()} does not share the store: weights and images stay there in {terms.runs}")

    # Only here, once the run is known to be right for this node, is torch worth waiting for.
    from genbench.executors.carrying import carry_out
    from genbench.executors.freeing import free_memory

    ended = carry_out(order.job, terms, order.device, sender, sender.stopped)
    free_memory()  # the process may have another run before it
    return Done(ended, None if shared else _record(terms, order.job, ended))


def examine(version: str, packed: bytes) -> str | None:
    """Return why this node can't carry out any of the runs, or None; arguments are as of `work`, but an `Expected`."""
    if version != __version__:
        return _other_version(version)
    expected: Expected = pickle.loads(packed)  # noqa: S301
    _go_to(expected.here)
    return _other_parts(expected.parts)


def parts_of(plugins: Plugins, jobs: Iterable[Job]) -> tuple[Part, ...]:
    """Return the parts that jobs name, each once; one that there is not is for its run to explain."""
    named: dict[tuple[Kind, str], None] = {}
    for job in jobs:
        config = job.config
        named[("models", config.model.name)] = None
        named[("datasets", config.dataset.name)] = None
        if config.similarity is not None:
            with suppress(GenbenchError):
                named |= {
                    ("similarities", part.name): None for part in similarity_parts(plugins, config.similarity.name)
                }
        for component in config.evaluation.evaluators:
            named[("evaluators", component.name)] = None
        for extractor in config.evaluation.extractors:
            named[("extractors", extractor.partition(":")[0])] = None
    found = []
    for kind, name in named:
        with suppress(GenbenchError):
            found.append(Part(kind, name, *plugins.origin(kind, name)))
    return tuple(found)


def _other_version(version: str) -> str:
    return f"{_node()} has genbench {__version__}, expected {version}: install that version there"


def _other_parts(parts: Sequence[Part]) -> str | None:
    """Return which part this node lacks or has otherwise; a `genbenchfile.py` has a hash as its version."""
    plugins = Plugins.load()
    for part in parts:
        wanted = f"`{part.name}` of {part.distribution} {part.version}"
        try:
            origin = plugins.origin(part.kind, part.name)
        except GenbenchError as error:
            return f"{_node()} lacks {wanted}: {error.message}; install it there"
        if origin != (part.distribution, part.version):
            return f"{_node()} has `{part.name}` of {' '.join(origin)}, expected {wanted}: install the same there"
    return None


def _go_to(folder: Path) -> None:
    """Work where the one who asks does, if the node has that folder, as `genbenchfile.py` and relative paths need."""
    with suppress(OSError):
        os.chdir(folder)


def _record(terms: Terms, job: Job, ended: Ended) -> bytes | None:
    """Return the record that tells of this very ending, if the run got as far as to write one."""
    path = folder_in(terms.runs, job.config).record_path
    with suppress(GenbenchError):
        if read_record(path).status == ended.status:
            return path.read_bytes()
    return None


def _node() -> str:
    return f"node {socket.gethostname()}"


def _where() -> str:
    """Return this node's name, with the GPUs that Ray has given to the run."""
    ids = import_module("ray").get_runtime_context().get_accelerator_ids().get("GPU", [])
    return " ".join([socket.gethostname(), *(f"gpu {number}" for number in ids)])
