"""One run of a suite, carried out in the process that calls: what every executor's processes do."""

import sys
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from threading import Lock
from time import monotonic
from typing import Protocol

import torch
from threadpoolctl import threadpool_limits

from genbench.errors import GenbenchError, explained, in_one_line, on_one_line
from genbench.executors.interface import Ended, Job, Terms
from genbench.pipeline import Surroundings, folder_of, run
from genbench.plugins import Plugins
from genbench.store import Busy, append

ADVANCED_S, PREPARING_S = 0.25, 5.0
"""Seconds at least between two tellings of the same kind."""


class Tell(Protocol):
    """Whoever passes on how a run goes; called from any thread, one at a time."""

    def advanced(self, images_seen: int) -> None:
        """Tell how far training has come."""

    def said(self, message: str) -> None:
        """Tell something in words."""


def carry_out(job: Job, terms: Terms, device: str, tell: Tell, stop: Callable[[], bool]) -> Ended:
    """Carry out a run, or what is left of it, and say how it ended; whatever goes wrong with it is its own.

    Plugins are loaded anew, so that the run finds what it would find in a process of its own; it takes milliseconds.

    Args:
        job: which run.
        terms: `threads` is what the run takes; None leaves what the process has.
        device: torch's name of one, or `auto`.
        tell: is told of its progress, no more often than anybody can read.
        stop: is asked at each step; once it says so, the run saves and ends.
    """
    if terms.threads is not None:
        torch.set_num_threads(terms.threads)
    around = Surroundings(
        terms.runs, terms.cache, terms.source, device, terms.engine, retry_unscored=terms.retry_unscored
    )
    try:
        with threadpool_limits(terms.threads):  # of NumPy and SciPy
            record = run(Plugins.load(), job.config, around, _Passing(tell, job.config.training.images), stop)
    except Busy as error:
        return Ended("busy", error.message)
    except GenbenchError as error:
        return Ended("failed", on_one_line(explained(error)))
    except (Exception, SystemExit) as error:  # a plugin may do anything
        _keep_traceback(job, around, error)
        return Ended("failed", on_one_line(in_one_line(error)))
    return Ended("stopped") if record is None else Ended(record.status, record.reason)


def _keep_traceback(job: Job, around: Surroundings, error: BaseException) -> None:
    """Leave it where the run's author will look for it: in the run's log, and on stderr."""
    text = "".join(traceback.format_exception(error))
    sys.stderr.write(text)
    with suppress(GenbenchError):  # the error itself is told in any case
        append(folder_of(job.config, around).log_path, text)


class _Passing:
    """Observes a run, and passes on as much of it as anybody can read."""

    def __init__(self, tell: Tell, budget: int) -> None:
        self.tell = tell
        self.budget = budget
        self.due = {"advanced": 0.0, "preparing": monotonic() + PREPARING_S}
        self.lock = Lock()  # preparing is told from any thread

    def said(self, message: str) -> None:
        with self.lock:
            self.tell.said(message)

    def preparing(self, done: int, total: int) -> None:
        if self._is_due("preparing", PREPARING_S):
            self.said(f"preparing {done:,} of {total:,} images")

    def started(self, images_seen: int, budget: int) -> None:
        if 0 < images_seen < budget:
            self.said(f"resuming after {images_seen:,} of {budget:,} images")
        with self.lock:
            self.tell.advanced(images_seen)

    def advanced(self, images_seen: int, row: Mapping[str, float]) -> None:
        if self._is_due("advanced", ADVANCED_S) or images_seen >= self.budget:
            with self.lock:
                self.tell.advanced(images_seen)

    def _is_due(self, kind: str, pause_s: float) -> bool:
        now = monotonic()
        due = now >= self.due[kind]
        if due:
            self.due[kind] = now + pause_s
        return due
