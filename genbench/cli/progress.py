"""How a run tells of its progress, on stderr: a live bar on a terminal, else a plain line every few seconds."""

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from time import perf_counter
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID

HOUR_S = 3600.0
LINE_S = 5.0
"""Seconds between two plain lines."""
WARM_UP_S = 5.0
"""Seconds of training after which its speed is known well enough to foretell its end."""


class Pace:
    """Images a second, and the time left, since this process took up training."""

    def __init__(self, images_seen: int, budget: int) -> None:
        self.first = images_seen
        self.budget = budget
        self.began = perf_counter()

    def elapsed_s(self) -> float:
        """Return seconds since training was taken up."""
        return perf_counter() - self.began

    def images_per_s(self, images_seen: int) -> float:
        """Return the mean speed so far."""
        return (images_seen - self.first) / max(self.elapsed_s(), 1e-9)

    def left_s(self, images_seen: int) -> float:
        """Return the seconds that the rest will take at that speed."""
        speed = self.images_per_s(images_seen)
        return max(self.budget - images_seen, 0) / speed if speed else float("inf")


class Told:
    """What both kinds of observers share: the pace, and a word of warning where a CPU would take over an hour."""

    def __init__(self, warn_if_slow: bool) -> None:
        self.warn_if_slow = warn_if_slow
        self.pace = Pace(0, 0)
        self.warm = False
        self.row: Mapping[str, float] = {}

    @abstractmethod
    def said(self, message: str) -> None:
        """Tell something in words."""

    def started(self, images_seen: int, budget: int) -> None:
        """Tell where training starts, or resumes."""
        self.pace = Pace(images_seen, budget)
        if 0 < images_seen < budget:
            self.said(f"resuming after {images_seen:,} of {budget:,} images")

    def advanced(self, images_seen: int, row: Mapping[str, float]) -> None:
        """Keep the latest row, and warn once where it will take long."""
        self.row = row or self.row
        if not self.warm:
            # The first step also warms up torch, and weighs the similarity: it says nothing of the others.
            self.warm = True
            self.pace = Pace(images_seen, self.pace.budget)
        elif self.warn_if_slow and self.pace.elapsed_s() > WARM_UP_S:
            self.warn_if_slow = False
            left = self.pace.left_s(images_seen)
            if left > HOUR_S:
                self.said(
                    f"note: at {self.pace.images_per_s(images_seen):.0f} images/s on this CPU the run takes about "
                    f"{clock(left)}; --preset quick (32 px, quarter width) takes minutes. Ctrl-C saves and stops."
                )

    def scalars(self) -> str:
        """Return the latest row of the curve in short."""
        return " ".join(f"{name} {value:.4g}" for name, value in self.row.items() if name in ("kl", "like", "gan.real"))


class Lines(Told):
    """For logs: a plain line every few seconds."""

    def __init__(self, warn_if_slow: bool) -> None:
        super().__init__(warn_if_slow)
        self.last = 0.0

    def said(self, message: str) -> None:
        """Print a line."""
        click.echo(message, err=True)

    def preparing(self, done: int, total: int) -> None:
        """Print how many images are prepared."""
        if self._due(done == total):
            self.said(f"preparing {done:,} of {total:,} images")

    def advanced(self, images_seen: int, row: Mapping[str, float]) -> None:
        """Print how far training has come; of the first step there is nothing to say yet."""
        known = self.warm
        super().advanced(images_seen, row)
        done = images_seen >= self.pace.budget
        if known and (self._due(False) or (done and row)):
            self.said(
                f"{images_seen:,} of {self.pace.budget:,} images, {self.pace.images_per_s(images_seen):.0f} images/s, "
                f"{clock(self.pace.left_s(images_seen))} left  {self.scalars()}".rstrip()
            )

    def _due(self, now: bool) -> bool:
        due = now or perf_counter() - self.last >= LINE_S
        if due:
            self.last = perf_counter()
        return due


class Bars(Told):
    """For terminals: a live bar."""

    def __init__(self, warn_if_slow: bool, console: "Console", progress: "Progress") -> None:
        super().__init__(warn_if_slow)
        self.console = console
        self.progress = progress
        self.task: TaskID | None = None
        self.preparation: TaskID | None = None

    def said(self, message: str) -> None:
        """Print a line above the bar."""
        self.console.print(message, soft_wrap=True)

    def preparing(self, done: int, total: int) -> None:
        """Move the bar of the preparation."""
        if self.preparation is None:
            self.preparation = self.progress.add_task("preparing", total=total, detail="")
        self.progress.update(self.preparation, completed=done, total=total)

    def started(self, images_seen: int, budget: int) -> None:
        """Show the bar of the training."""
        super().started(images_seen, budget)
        self.task = self.progress.add_task("training", total=budget, completed=images_seen, detail="")

    def advanced(self, images_seen: int, row: Mapping[str, float]) -> None:
        """Move the bar of the training."""
        super().advanced(images_seen, row)
        if self.task is not None:
            detail = f"{self.pace.images_per_s(images_seen):.0f} img/s"
            self.progress.update(self.task, completed=images_seen, detail=detail)


@contextmanager
def observing(warn_if_slow: bool) -> Iterator[Lines | Bars]:
    """Observe a run with a live bar where stderr is a terminal, else with plain lines."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True, highlight=False, markup=False)
    if not console.is_terminal:
        yield Lines(warn_if_slow)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        TextColumn("{task.percentage:>3.0f}%"),
        TextColumn("{task.fields[detail]}"),
        TimeRemainingColumn(elapsed_when_finished=True),
    )
    with Progress(*columns, console=console, expand=True) as progress:
        yield Bars(warn_if_slow, console, progress)


def clock(seconds: float) -> str:
    """Return a duration as `3 h 20 min`, `4 min 10 s` or `7 s`."""
    if seconds == float("inf"):
        return "?"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02} min"
    return f"{minutes} min {rest:02} s" if minutes else f"{rest} s"
