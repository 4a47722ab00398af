"""Runs in processes of this machine, several at once on each device. Imports no torch: its workers do."""

import signal
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from queue import Empty
from time import monotonic

from genbench.errors import GenbenchError
from genbench.executors.agenda import Agenda, Turn
from genbench.executors.interface import Ended, Job, Terms, Watcher
from genbench.executors.messages import Advanced, CarryOut, Done, Halt, Ready, Report, Said, Unfit
from genbench.executors.processes import Reports, WorkerProcess
from genbench.store import append, folder_in

TICK_S = 0.2
"""Seconds at most between two looks at whether to stop."""
FAREWELL_S = 10.0
"""Seconds that workers have for ending once there is nothing left to do."""


@dataclass(frozen=True)
class LocalExecutor:
    """Carries out runs in worker processes, which import torch once and take one run after the other.

    Args:
        terms: where no threads are given, each run has its even share of those that torch takes by itself.
        device: torch's name of one, several of them with commas, or `auto`: every CUDA device there is, else Apple's
            MPS, else the CPU. `cuda` is every CUDA device.
        jobs: runs at once on each device.
    """

    terms: Terms
    device: str = "auto"
    jobs: int = 1

    def execute(self, jobs: Sequence[Job], watcher: Watcher, stop: Callable[[], bool]) -> None:
        """Carry out all jobs, as `Executor.execute` has it; an interrupt ends all processes at once.

        A job whose process dies is tried once more, from its checkpoint. One whose folder another process holds is
        asked for again until it is free.
        """
        crew = _Crew(self, Agenda(jobs), watcher)
        try:
            crew.work(stop)
            crew.part()
        finally:
            crew.disband()


@dataclass
class _Post:
    """What one worker is at.

    Attributes:
        slot: which of the runs at once is its.
        device: None until it is ready.
        leaving: whether it takes nothing more.
    """

    slot: int
    device: str | None = None
    turn: Turn | None = None
    leaving: bool = False


class _Crew:
    """The workers of one execution."""

    def __init__(self, executor: LocalExecutor, agenda: Agenda, watcher: Watcher) -> None:
        self.executor = executor
        self.terms = executor.terms
        self.agenda = agenda
        self.watcher = watcher
        self.posts: dict[WorkerProcess, _Post] = {}
        self.reports = Reports()
        self.devices: tuple[str, ...] = ()  # unknown until the first worker has asked torch
        self.closed: dict[int, GenbenchError] = {}
        self.stopping = False

    def work(self, stop: Callable[[], bool]) -> None:
        """Carry out everything.

        Raises:
            GenbenchError: no worker can be had.
        """
        while self.agenda or self._at_work():
            if not self.stopping and stop():
                self._halt()
            self._staff()
            self._hand_out()
            self._listen(TICK_S)

    def part(self) -> None:
        """Let the workers end by themselves."""
        for worker, post in self.posts.items():
            post.leaving = True
            worker.dismiss()
        deadline = monotonic() + FAREWELL_S
        while self.posts and monotonic() < deadline:
            self._listen(TICK_S)

    def disband(self) -> None:
        """End the workers that are left, at once."""
        for worker in self.posts:
            worker.bury()

    def _at_work(self) -> int:
        return sum(post.turn is not None for post in self.posts.values())

    def _slots(self) -> int:
        return self.executor.jobs * max(len(self.devices), 1)

    def _staff(self) -> None:
        """Have as many workers as there are runs for them, and no more than there are slots."""
        here = {post.slot: worker for worker, post in self.posts.items() if not post.leaving}
        needed = len(self.agenda) + self._at_work()
        free = [slot for slot in range(self._slots()) if slot not in here and slot not in self.closed]
        for slot in free[: max(needed - len(here), 0)]:
            worker = WorkerProcess(self.executor.device, self.terms.threads, self.reports)
            self.posts[worker] = _Post(slot)
        idle = [worker for worker in here.values() if self.posts[worker].turn is None]
        for worker in idle[: max(len(here) - needed, 0)]:
            self._let_go(worker)
        if self.agenda and not self.posts and self.closed:
            raise next(iter(self.closed.values()))

    def _let_go(self, worker: WorkerProcess) -> None:
        post = self.posts[worker]
        if post.device is None:  # there is nothing that it could lose
            del self.posts[worker]
            worker.bury()
            return
        post.leaving = True
        worker.dismiss()

    def _hand_out(self) -> None:
        for worker, post in self.posts.items():
            if post.device is None or post.turn is not None or post.leaving:
                continue
            post.turn = self.agenda.take(monotonic())
            if post.turn is None:
                return
            worker.send(CarryOut(post.turn.job, self.terms, post.device))
            if post.turn.open is None or post.turn.open.status != "busy":
                self._started(post.turn, post.device)

    def _started(self, turn: Turn, device: str) -> None:
        turn.open = None
        self.watcher.started(turn.job, device)

    def _listen(self, patience_s: float) -> None:
        """Wait for a report, and take in all that there are."""
        with suppress(Empty):
            self._take_in(*self.reports.get(timeout=patience_s))
            while True:
                self._take_in(*self.reports.get_nowait())
        for worker in self.posts:
            worker.look_after()

    def _take_in(self, worker: WorkerProcess, report: Report | None) -> None:
        post = self.posts.get(worker)
        match report:
            case _ if post is None:
                pass  # the last words of one that was let go
            case None:
                self._has_gone(worker, post)
            case Ready():
                self._is_ready(post, report)
            case Unfit():
                self._close(post, GenbenchError(report.message, report.hint))
            case Done():
                self._is_done(post, report)
            case Advanced() if post.turn is not None and post.device is not None:
                if post.turn.open is not None:  # another process held it until now
                    self._started(post.turn, post.device)
                self.watcher.advanced(post.turn.job, report.images_seen)
            case Said() if post.turn is not None:
                self.watcher.said(post.turn.job, report.message)

    def _is_ready(self, post: _Post, report: Ready) -> None:
        self.devices = self.devices or report.devices
        post.device = self.devices[post.slot % len(self.devices)]
        threads = self.terms.threads or max(report.threads // self._slots(), 1)
        self.terms = replace(self.terms, threads=threads)

    def _is_done(self, post: _Post, report: Done) -> None:
        turn, post.turn, post.leaving = post.turn, None, post.leaving or report.leaving
        if turn is None:
            return
        if report.how.status != "busy" or self.stopping:
            self.watcher.ended(turn.job, report.how)
            return
        if turn.open is None:
            self.watcher.said(turn.job, "waits: another process is at this run")
        self.agenda.postpone(turn, report.how, monotonic())

    def _has_gone(self, worker: WorkerProcess, post: _Post) -> None:
        """Bury a worker; a run that it took with it is tried once more."""
        words = worker.last_words()
        del self.posts[worker]
        cause = _cause(worker.bury())
        if post.turn is not None:
            self._has_died(post.turn, cause, words)
        elif post.device is None and post.slot not in self.closed:
            last = words.splitlines()[-1:] or ["it said nothing"]
            reason = f"a worker process {cause} before it could do anything: {last[0]}"
            self._close(post, GenbenchError(reason, "`genbench doctor` checks the installation", exit_code=1))

    def _close(self, post: _Post, why: GenbenchError) -> None:
        """Have no other worker where one could not even begin; what hinders the very first hinders all."""
        self.closed[post.slot] = why
        if not self.devices:
            raise why

    def _has_died(self, turn: Turn, cause: str, words: str) -> None:
        job, how = turn.job, Ended("failed", f"its process {cause}")
        _leave_in_log(self.terms, job, f"its process {cause}; the last that it printed:\n{words}\n")
        if not self.stopping and self.agenda.may_retry(turn, how):
            self.watcher.said(job, f"warning: its process {cause}; it is tried once more, from its checkpoint")
        else:
            again = ", for the second time" if turn.deaths > 1 else ""
            self.watcher.ended(job, Ended("failed", f"its process {cause}{again}; see its log.txt"))

    def _halt(self) -> None:
        """Have the runs at work stop, and begin no other."""
        self.stopping = True
        for job, how in self.agenda.give_up():
            self.watcher.ended(job, how)
        for worker, post in self.posts.items():
            if post.turn is not None:
                worker.send(Halt())


def _cause(status: int) -> str:
    """Say what a process ended of."""
    if status >= 0:
        return f"ended by itself, with status {status}"
    name = signal.Signals(-status).name
    return f"was killed by {name}" + (", as happens where memory runs out" if name == "SIGKILL" else "")


def _leave_in_log(terms: Terms, job: Job, text: str) -> None:
    folder = folder_in(terms.runs, job.config)
    with suppress(GenbenchError):  # what happened is told in any case
        append(folder.log_path, text)
