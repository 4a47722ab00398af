"""How a suite tells of its runs, on stderr: a live table on a terminal, else plain lines."""

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from time import perf_counter
from typing import TYPE_CHECKING

import click

from genbench.cli.forecast import AtWork, Tally
from genbench.cli.progress import clock
from genbench.executors.interface import Ended, Job

if TYPE_CHECKING:
    from rich.console import Console, Group, RenderableType
    from rich.table import Table

GAP = 2
"""Columns between two columns."""
DRAW_S = 0.25
"""Seconds between two drawings of the table while runs merely train."""
LINE_S = 30.0
"""Seconds between two plain lines on how far all is."""
NAMED = 4
"""Runs at work that such a line names."""
BESIDE = 6
"""Lines of a terminal that are not for runs at work."""
BAR = 14
"""Columns of a bar."""
DOING = ("preparing ", "resuming ", "evaluating ", "waits: ")
"""How words begin that tell what a run does now."""
WARNING = ("note: ", "warning: ")
"""How words begin that are worth a line."""


class Told:
    """What both kinds of watchers share: the tally, and what is said of a run that ends."""

    def __init__(self, jobs: Sequence[Job]) -> None:
        self.tally = Tally(jobs)
        self.warned: set[str] = set()

    @abstractmethod
    def show(self, message: str, *, bad: bool = False) -> None:
        """Print a line."""

    def started(self, job: Job, where: str) -> None:
        self.tally.started(job, where)

    def advanced(self, job: Job, images_seen: int) -> None:
        self.tally.advanced(job, images_seen)

    def said(self, job: Job, message: str) -> None:
        """Keep what it does now; print what somebody should know, once, however many runs say it."""
        if message.startswith(DOING):
            self.tally.does(job, message)
        elif (message.startswith(WARNING) or " failed: " in message) and message not in self.warned:
            self.warned.add(message)
            self.show(f"{job.label}: {message}")

    def ended(self, job: Job, how: Ended) -> None:
        took = self.tally.ended(job, how)
        reason = f": {how.reason}" if how.reason else ""
        self.show(f"{job.label}: {how.status} after {clock(took)}{reason}", bad=how.status in ("failed", "diverged"))


class Lines(Told):
    """For logs: a line where a run begins and ends, and one every half minute."""

    def __init__(self, jobs: Sequence[Job]) -> None:
        super().__init__(jobs)
        self.last = perf_counter()

    def show(self, message: str, *, bad: bool = False) -> None:
        click.echo(message, err=True)

    def started(self, job: Job, where: str) -> None:
        super().started(job, where)
        self.show(f"{job.label}: begun on {where}")

    def advanced(self, job: Job, images_seen: int) -> None:
        super().advanced(job, images_seen)
        self._tell_now_and_then()

    def said(self, job: Job, message: str) -> None:
        super().said(job, message)
        self._tell_now_and_then()

    def _tell_now_and_then(self) -> None:
        if perf_counter() - self.last < LINE_S:
            return
        self.last = perf_counter()
        rows = list(self.tally.at_work.values())
        named = [f"{row.job.label} {row.fraction:.0%}" for row in rows[:NAMED]]
        if len(rows) > NAMED:
            named.append(f"and {len(rows) - NAMED} more")
        self.show(f"{self.tally.summary()}; {', '.join(named)}")


class Board(Told):
    """For terminals: a live table of the runs at work, with those that have ended above it.

    It is drawn when something is told, by whoever tells it: a thread that draws would need a lock, for which a
    signal's handler that prints could wait forever.
    """

    def __init__(self, jobs: Sequence[Job], console: "Console") -> None:
        from rich.live import Live

        super().__init__(jobs)
        self.console = console
        self.live = Live(get_renderable=self.render, console=console, auto_refresh=False, transient=True)
        self.drawn = 0.0

    def show(self, message: str, *, bad: bool = False) -> None:
        self.console.print(message, style="red" if bad else None, soft_wrap=True)

    def started(self, job: Job, where: str) -> None:
        super().started(job, where)
        self._draw()

    def advanced(self, job: Job, images_seen: int) -> None:
        super().advanced(job, images_seen)
        if perf_counter() - self.drawn >= DRAW_S or images_seen >= job.config.training.images:
            self._draw()

    def said(self, job: Job, message: str) -> None:
        super().said(job, message)
        if message.startswith(DOING):
            self._draw()

    def ended(self, job: Job, how: Ended) -> None:
        super().ended(job, how)
        self._draw()

    def _draw(self) -> None:
        self.drawn = perf_counter()
        self.live.refresh()

    def render(self) -> "Group":
        """Return the table as it is now, with a line on the whole below it."""
        from rich.console import Group
        from rich.text import Text

        rows, summary = list(self.tally.at_work.values()), self.tally.summary()
        most = max(self.console.height - BESIDE, 1)
        table = [_table(rows[:most], self.console.width)] if rows else []
        more = [Text(f"… and {len(rows) - most} more", "dim")] if len(rows) > most else []
        return Group(*table, *more, Text(summary))


def _table(rows: Sequence[AtWork], width: int) -> "Table":
    from rich.table import Column, Table
    from rich.text import Text

    speeds = [f"{row.images_per_s():,.0f}" if row.trains else "" for row in rows]
    lefts = [clock(row.left_s()) if row.trains else "" for row in rows]
    widths = [max(map(len, column)) for column in (["on", *(row.where for row in rows)], ["img/s", *speeds], lefts)]
    table = Table(
        Column(Text("run", "dim")),
        Column(Text("on", "dim")),
        Column("", width=BAR + 5, no_wrap=True, overflow="ellipsis"),
        Column(Text("img/s", "dim"), justify="right"),
        Column(Text("left", "dim"), justify="right", min_width=len("3 h 20 min")),
        box=None,
        pad_edge=False,
        padding=(0, GAP, 0, 0),
    )
    room = width - sum(widths[:2]) - max(widths[2], len("3 h 20 min")) - BAR - 5 - 4 * GAP
    for row, speed, left in zip(rows, speeds, lefts, strict=True):
        told = (_shortened(row.job.label, room), row.where, _progress(row), speed, left)
        table.add_row(*(Text(cell, no_wrap=True) if isinstance(cell, str) else cell for cell in told))
    return table


def _shortened(label: str, room: int) -> str:
    """Cut a label in its middle: runs of a suite are alike in how they begin, and seeds stand at the end."""
    if len(label) <= room:
        return label
    end = max(room // 2, 1)
    return f"{label[: max(room - end - 1, 0)]}…{label[-end:]}"


def _progress(row: AtWork) -> "RenderableType":
    """Return a bar while a run trains, else what it does."""
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    if row.doing:
        return Text(row.doing, no_wrap=True, overflow="ellipsis")
    line = Table.grid(padding=(0, 1, 0, 0))
    line.add_row(ProgressBar(row.budget, row.images_seen, width=BAR), Text(f"{row.fraction:>4.0%}"))
    return line


@contextmanager
def watching(jobs: Sequence[Job]) -> Iterator[Lines | Board]:
    """Watch jobs with a live table where stderr is a terminal, else with plain lines.

    Args:
        jobs: all that an executor is given.
    """
    from rich.console import Console

    console = Console(stderr=True, highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        yield Lines(jobs)
        return
    board = Board(jobs, console)
    with board.live:
        board.live.refresh()  # the first worker is a while at its imports
        yield board
