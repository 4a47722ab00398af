"""`log.txt` of a run's folder: how the run went, in words and with times, for whoever reads it later."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from genbench.errors import GenbenchError, on_one_line
from genbench.store import append
from genbench.train.loop import Observer


class RunObserver(Observer, Protocol):
    """Whoever is told how a run goes."""

    def preparing(self, done: int, total: int) -> None:
        """Tell how many images are prepared."""

    def said(self, message: str) -> None:
        """Tell something in words."""


class RunLog:
    """Passes everything on to an observer, and writes what is told in words to a file, each line with its UTC time."""

    def __init__(self, observer: RunObserver, path: Path) -> None:
        self.observer = observer
        self.path = path

    def note(self, message: str) -> None:
        """Append a line for later readers alone.

        Raises:
            GenbenchError: it can't be written.
        """
        now = datetime.now(UTC).isoformat(timespec="seconds")
        append(self.path, f"{now} {on_one_line(message)}\n")

    def said(self, message: str) -> None:
        """Append a line, and tell the observer."""
        self.note(message)
        self.observer.said(message)

    def preparing(self, done: int, total: int) -> None:
        """Tell the observer."""
        self.observer.preparing(done, total)

    def started(self, images_seen: int, budget: int) -> None:
        """Append where training starts, and tell the observer."""
        how = "training from" if not images_seen else "resuming after" if images_seen < budget else "trained before:"
        self.note(f"{how} {images_seen:,} of {budget:,} images")
        self.observer.started(images_seen, budget)

    def advanced(self, images_seen: int, row: Mapping[str, float]) -> None:
        """Tell the observer; the curve has it."""
        self.observer.advanced(images_seen, row)


@contextmanager
def logged(observer: RunObserver, path: Path) -> Iterator[RunLog]:
    """Keep a run's log, and note in it what ended the run where that is an error."""
    log = RunLog(observer, path)
    try:
        yield log
    except BaseException as error:
        with suppress(GenbenchError):  # a disk that is full must not hide what happened
            log.note(f"ended by {type(error).__name__}: {error}")
        raise
