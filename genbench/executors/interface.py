"""What a suite asks of whoever carries out its runs. Imports no torch."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from genbench.config import RunConfig


@dataclass(frozen=True)
class Job:
    """One run to be carried out.

    Attributes:
        label: what a person reads, alike for no two jobs of a suite.
        config: of the run, whole; its hash and seed name the run's folder.
    """

    label: str
    config: RunConfig


@dataclass(frozen=True)
class Terms:
    """Where and how every run of a suite is carried out.

    Attributes:
        runs: root of the store.
        cache: of prepared data and classifiers.
        source: the folder or archive with the data, or None.
        engine: that executes the training steps.
        threads: CPU threads of each run; None for the cores shared evenly by the runs at once.
        retry_unscored: whether a finished run tries evaluators again that were skipped or failed.
    """

    runs: Path
    cache: Path
    source: Path | None = None
    engine: str = "auto"
    threads: int | None = None
    retry_unscored: bool = False


@dataclass(frozen=True)
class Ended:
    """How a job ended.

    Attributes:
        status: as in a record; `failed` also where there is no record, such as for a killed process or a user's error;
            `stopped` where it was told to stop, and goes on from there next time; `busy` where another process holds
            the run's folder, so that it has to be asked for again later.
        reason: why it did not end well, on one line, or None.
    """

    status: Literal["ok", "failed", "diverged", "stopped", "busy"]
    reason: str | None = None


class Watcher(Protocol):
    """Whoever is told how jobs go. All calls come from one thread."""

    def started(self, job: Job, where: str) -> None:
        """Tell that a job was begun, and where, such as `cuda:0` or a node's name; again where it was retried."""

    def advanced(self, job: Job, images_seen: int) -> None:
        """Tell how far its training has come, a few times a second at most."""

    def said(self, job: Job, message: str) -> None:
        """Tell something in words, such as what it does now."""

    def ended(self, job: Job, how: Ended) -> None:
        """Tell how it ended; once for each job that was started and not retried."""


class Executor(Protocol):
    """Carries out runs, several at once."""

    def execute(self, jobs: Sequence[Job], watcher: Watcher, stop: Callable[[], bool]) -> None:
        """Carry out all jobs, and return when none is at work any more.

        One that fails costs no other. Where `stop` says so, jobs at work save what they have and end as `stopped`, and
        no other is begun.

        Raises:
            GenbenchError: nothing can be carried out at all, such as for a device that is not there.
        """
