"""Stopping by a signal, so that nothing that is done is lost."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import click


class Stop:
    """Turns SIGINT and SIGTERM into a wish that a run asks after at each step and evaluator; the second interrupts."""

    def __init__(self, silent: bool = False) -> None:
        self.silent = silent
        self.signal: int | None = None

    def __call__(self) -> bool:
        return self.signal is not None

    def handle(self, number: int, frame: FrameType | None) -> None:
        """Note the first signal; give in to the second."""
        if self.signal is not None:
            raise KeyboardInterrupt
        self.signal = number
        if not self.silent:
            click.echo("stopping; once more to stop at once", err=True)


@contextmanager
def stoppable(silent: bool = False) -> Iterator[Stop]:
    """Listen for signals while a run goes on."""
    stop = Stop(silent)
    before = {number: signal.signal(number, stop.handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
