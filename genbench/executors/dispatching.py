"""Hands jobs to a cluster, as many as fit, takes in how they end, and hands those out again whose worker was lost.

Knows of no cluster in particular, and imports no torch.
"""

import math
from collections import deque
from collections.abc import Callable, Collection, Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Generic, Literal, Protocol, TypeVar

from genbench.executors.gathering import bring_home, is_free
from genbench.executors.interface import Ended, Job, Watcher

COUNT_S = 5.0
"""Seconds between two counts of how much fits."""
AHEAD = 2
"""Runs handed out beyond those that fit at once, so that no worker waits for its next."""
LOOK_S = 1.0
"""Seconds between two looks at whether a run's folder is free again."""

Ticket = TypeVar("Ticket", bound=Hashable)


@dataclass(frozen=True)
class Letter:
    """What a run tells on its way.

    Attributes:
        number: of the job.
        attempt: how often a worker was lost with it before.
    """

    number: int
    attempt: int
    kind: Literal["begun", "advanced", "said"]
    text: str = ""
    images_seen: int = 0


@dataclass(frozen=True)
class Done:
    """How a run ended on its node.

    Attributes:
        record: to be brought home, where the node does not share the store.
    """

    ended: Ended
    record: bytes | None = None


class Lost(Exception):
    """A run's worker died, by whatever cause."""


class Cluster(Protocol[Ticket]):
    """What carries out runs somewhere else; a ticket stands for a run that was handed out."""

    def room(self) -> int:
        """Return how many runs fit at once."""

    def hand_out(self, number: int, attempt: int, job: Job) -> Ticket:
        """Have a run carried out as soon as there is room."""

    def wait(self, tickets: Collection[Ticket]) -> Sequence[Ticket]:
        """Return those that have ended, after a short while at most, and after that while where there are none."""

    def letters(self, stopping: bool) -> Sequence[Letter]:
        """Return what runs have told, in order, and tell them whether to stop.

        All letters of a run that `wait` has returned are among those returned until now.
        """

    def take(self, ticket: Ticket) -> Done:
        """Return how a run ended; raises `Lost`."""

    def drop(self, tickets: Collection[Ticket]) -> None:
        """End runs at once, saved or not."""


@dataclass(frozen=True)
class Trip:
    """One way of a job through the cluster."""

    number: int
    attempt: int = 0


class Dispatch(Generic[Ticket]):
    """The jobs of a suite on their way; all calls to the watcher come from the thread that calls `go`.

    Args:
        runs: the store that records are gathered in.
        retries: how often a job is handed out again after its worker was lost.
    """

    def __init__(
        self,
        cluster: Cluster[Ticket],
        runs: Path,
        jobs: Sequence[Job],
        watcher: Watcher,
        stop: Callable[[], bool],
        retries: int,
    ) -> None:
        self.cluster = cluster
        self.runs = runs
        self.jobs = jobs
        self.watcher = watcher
        self.stop = stop
        self.retries = retries
        self.waiting = deque(Trip(number) for number in range(len(jobs)))
        self.under_way: dict[Ticket, Trip] = {}
        self.begun: set[int] = set()
        self.stopping = False
        self.held: dict[Trip, Ended] = {}
        self.room, self.counted, self.looked = 0, -math.inf, -math.inf

    def go(self) -> None:
        """Carry out all jobs; where that is interrupted, no run stays behind on the cluster."""
        try:
            while self.waiting or self.held or self.under_way:
                self.stopping = self.stopping or self.stop()
                if self.stopping:
                    self._give_up_waiting()
                else:
                    self._look_at_held()
                    self._hand_out()
                ended = self.cluster.wait(self.under_way)
                self._read_letters()
                for ticket in ended:
                    self._settle(ticket, self.under_way.pop(ticket))
        finally:
            self.cluster.drop(self.under_way)

    def _give_up_waiting(self) -> None:
        for trip in self.waiting:
            self._end(trip, Ended("stopped"))
        for trip, how in self.held.items():
            self._end(trip, how)
        self.waiting.clear()
        self.held.clear()

    def _look_at_held(self) -> None:
        """Have those carried out, or read, that another process was at until now."""
        if monotonic() - self.looked < LOOK_S:
            return
        for trip in [trip for trip in self.held if is_free(self.runs, self.jobs[trip.number].config)]:
            del self.held[trip]
            self.waiting.appendleft(trip)
        self.looked = monotonic()

    def _hand_out(self) -> None:
        if monotonic() - self.counted >= COUNT_S:
            self.room, self.counted = self.cluster.room(), monotonic()
        while self.waiting and len(self.under_way) < self.room + AHEAD:
            trip = self.waiting.popleft()
            self.under_way[self.cluster.hand_out(trip.number, trip.attempt, self.jobs[trip.number])] = trip

    def _read_letters(self) -> None:
        expected = set(self.under_way.values())
        for letter in self.cluster.letters(self.stopping):
            if Trip(letter.number, letter.attempt) not in expected:
                continue  # from a worker that was lost
            job = self.jobs[letter.number]
            if letter.kind == "begun":
                self.begun.add(letter.number)
                self.watcher.started(job, letter.text)
            elif letter.kind == "advanced":
                self.watcher.advanced(job, letter.images_seen)
            else:
                self.watcher.said(job, letter.text)

    def _settle(self, ticket: Ticket, trip: Trip) -> None:
        try:
            done = self.cluster.take(ticket)
        except Lost as lost:
            self._lose(trip, str(lost))
            return
        problem = None if done.record is None else bring_home(self.runs, self.jobs[trip.number], done.record)
        how = problem or done.ended
        if how.status != "busy" or self.stopping:
            self._end(trip, how)
            return
        self.watcher.said(self.jobs[trip.number], "waits: another process is at this run")
        self.held[trip] = how

    def _lose(self, trip: Trip, reason: str) -> None:
        if self.stopping:  # its last checkpoint is there, as it is of a run that was stopped
            self._end(trip, Ended("stopped", f"its worker was lost: {reason}"))
        elif trip.attempt >= self.retries:
            self._end(trip, Ended("failed", f"its worker was lost {trip.attempt + 1} times: {reason}"))
        else:
            job, attempt = self.jobs[trip.number], trip.attempt + 1
            if trip.number in self.begun:
                self.watcher.said(job, f"its worker was lost: {reason}; retried, {attempt} of {self.retries} times")
            self.waiting.appendleft(Trip(trip.number, attempt))

    def _end(self, trip: Trip, how: Ended) -> None:
        """Tell the watcher, unless the job was never begun, and that for no fault."""
        job = self.jobs[trip.number]
        if trip.number not in self.begun:
            if how.status == "stopped":
                return
            self.begun.add(trip.number)
            self.watcher.started(job, "nowhere")
        self.watcher.ended(job, how)
