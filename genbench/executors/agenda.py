"""Which run comes next, where some have to wait for others and some are tried once more. Imports no torch."""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from genbench.executors.interface import Ended, Job

BUSY_S = 1.0
"""Seconds until a run that another process holds is asked for again."""
TRIES = 2
"""Processes that a run may take with it."""


@dataclass
class Turn:
    """A job, and what has happened to it.

    Attributes:
        due: when it may be taken, in seconds of a clock that only goes on.
        deaths: processes that died carrying it out.
        open: how it ended for the time being, where that was told and is not the end of it.
    """

    job: Job
    due: float = 0.0
    deaths: int = 0
    open: Ended | None = None


class Agenda:
    """Runs that wait for a process, in the order in which they were given."""

    def __init__(self, jobs: Iterable[Job]) -> None:
        self.waiting = deque(map(Turn, jobs))

    def __len__(self) -> int:
        return len(self.waiting)

    def take(self, now: float) -> Turn | None:
        """Take the first that is due out of it, or return None."""
        for turn in self.waiting:
            if turn.due <= now:
                self.waiting.remove(turn)
                return turn
        return None

    def postpone(self, turn: Turn, how: Ended, now: float) -> None:
        """Put back, behind all others, a run that another process holds."""
        turn.due, turn.open = now + BUSY_S, how
        self.waiting.append(turn)

    def may_retry(self, turn: Turn, how: Ended) -> bool:
        """Count the death of a process, and put its run back, behind all others, where it was the first."""
        turn.deaths += 1
        if turn.deaths >= TRIES:
            return False
        turn.open = how
        self.waiting.append(turn)
        return True

    def give_up(self) -> list[tuple[Job, Ended]]:
        """Empty it; return those that were begun once, each with how that ended."""
        begun = [(turn.job, turn.open) for turn in self.waiting if turn.open is not None]
        self.waiting.clear()
        return begun
