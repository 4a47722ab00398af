"""How far a suite is, and when it may be done; nothing here prints."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import mean
from time import perf_counter

from genbench.cli.progress import Pace, clock
from genbench.executors.interface import Ended, Job

Kind = tuple[object, ...]
"""What runs have in common that take about as long for an image."""


@dataclass
class AtWork:
    """A run that is being carried out.

    Attributes:
        first: images that it had seen when it was begun.
        told: how often it has told how far it is.
        doing: what it does in words, while it does not train.
    """

    job: Job
    where: str
    began: float
    images_seen: int = 0
    first: int = 0
    told: int = 0
    doing: str = "starting"
    pace: Pace = field(default_factory=lambda: Pace(0, 0))

    @property
    def budget(self) -> int:
        return self.job.config.training.images

    @property
    def trained(self) -> bool:
        return self.images_seen >= self.budget

    @property
    def fraction(self) -> float:
        """Return how much of its training is done, up to 1."""
        return min(self.images_seen / self.budget, 1.0)

    def advanced(self, images_seen: int) -> None:
        """Take note of how far it is; the first step also warms up torch, and says nothing of the others."""
        if self.told == 0:
            self.first = images_seen
        if self.told <= 1:
            self.pace = Pace(images_seen, self.budget)
        self.told += 1
        self.images_seen = images_seen
        self.doing = "evaluating" if self.trained else ""

    @property
    def trains(self) -> bool:
        """Whether it trains, and how fast is known."""
        return self.told > 2 and not self.trained and not self.doing

    def images_per_s(self) -> float:
        """Return the mean speed of its training so far; 0 where that is not known yet."""
        return self.pace.images_per_s(self.images_seen) if self.told > 2 else 0.0

    def left_s(self) -> float:
        """Return the seconds that its training still takes; infinite where that is not known yet."""
        return self.pace.left_s(self.images_seen) if self.told > 2 else float("inf")


class Tally:
    """Counts runs, and estimates from those that have ended, and from the speed of the others, how long all take.

    Attributes:
        waiting: labels of those that were not begun.
        images: that those train on, all together, by kind.
        ends: how many ended in each way.
        costs: seconds for an image of those that ended well, evaluation included.
    """

    def __init__(self, jobs: Sequence[Job]) -> None:
        self.total = len(jobs)
        self.waiting = {job.label for job in jobs}
        self.images: Counter[Kind] = Counter()
        for job in jobs:
            self.images[_kind(job)] += job.config.training.images
        self.at_work: dict[str, AtWork] = {}
        self.ends: Counter[str] = Counter()
        self.costs: dict[Kind, list[float]] = {}

    def started(self, job: Job, where: str) -> None:
        """Note that a run was begun, also again."""
        if job.label in self.waiting:
            self.waiting.remove(job.label)
            self.images[_kind(job)] -= job.config.training.images
        self.at_work[job.label] = AtWork(job, where, perf_counter())

    def advanced(self, job: Job, images_seen: int) -> None:
        """Note how far a run is."""
        if job.label in self.at_work:
            self.at_work[job.label].advanced(images_seen)

    def does(self, job: Job, what: str) -> None:
        """Note what a run does."""
        if job.label in self.at_work:
            self.at_work[job.label].doing = what

    def ended(self, job: Job, how: Ended) -> float:
        """Note how a run ended, and return the seconds that it took here."""
        row = self.at_work.pop(job.label)
        took = perf_counter() - row.began
        self.ends[how.status] += 1
        trained = row.images_seen - row.first
        if how.status == "ok" and trained:
            self.costs.setdefault(_kind(job), []).append(took / trained)
        return took

    def left_s(self) -> float | None:
        """Return the seconds until all is done, as many runs at once as now; None where nothing is known, or left."""
        known = {kind: mean(costs) for kind, costs in self.costs.items()}
        paces = [1 / speed for speed in (row.images_per_s() for row in self.at_work.values()) if speed]
        if not (known or paces) or not (self.waiting or self.at_work):
            return None
        usual = mean([*known.values(), *paces])
        running = [self._left_of(row, known.get(_kind(row.job), usual)) for row in self.at_work.values()]
        waiting = sum(known.get(kind, usual) * images for kind, images in self.images.items())
        return max([(sum(running) + waiting) / max(len(running), 1), *running])

    def summary(self) -> str:
        """Return how far all is, in a line."""
        parts = [f"{self.ends['ok']:,} of {self.total:,} done"]
        parts += [f"{count:,} {status}" for status, count in sorted(self.ends.items()) if status != "ok"]
        parts += [f"{len(self.at_work):,} at work", f"{len(self.waiting):,} to come"]
        left = self.left_s()
        return ", ".join(parts) + (f"; about {clock(left)} left" if left is not None else "")

    @staticmethod
    def _left_of(row: AtWork, cost: float) -> float:
        whole = cost * (row.budget - row.first) - (perf_counter() - row.began)
        own = row.left_s()
        return max(whole, 0.0 if own == float("inf") else own)


def _kind(job: Job) -> Kind:
    config = job.config
    similarity = config.similarity.name if config.similarity else None
    return config.model.name, similarity, config.dataset.name, config.dataset.size, config.network.width
