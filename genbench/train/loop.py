"""The training loop: done? → log → save → step, until the budget is seen."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

from genbench.config import RunConfig
from genbench.data.batches import Batches
from genbench.interfaces import Model
from genbench.store import RunFolder
from genbench.train.checkpoint import Progress, save_checkpoint
from genbench.train.curve import Curve
from genbench.train.distributed import leader_first, take_up
from genbench.train.energy import Meter
from genbench.train.engine import Engine, Trainer
from genbench.train.engines import build_engine
from genbench.train.film import Film
from genbench.train.ledger import Ledger, Reading
from genbench.train.optimisers import Optimisers, build_optimisers
from genbench.train.precision import choose_precision, training_in
from genbench.train.sharing import Share
from genbench.train.synchronised import synchronised
from genbench.train.weighting import measure_weight, weighted

SAVE_S = 60.0
"""Seconds between two checkpoints."""
WEIGHT_BATCHES = 8
"""First batches on which an automatic similarity weight is measured."""


class Observer(Protocol):
    """Whoever is told how training goes."""

    def started(self, images_seen: int, budget: int) -> None:
        """Tell where training starts, or resumes."""

    def advanced(self, images_seen: int, row: Mapping[str, float]) -> None:
        """Tell how far it has come, with the latest row of the curve (empty before the first)."""


@dataclass(frozen=True)
class Outcome:
    """How training ended: `finished` at its budget, `diverged` at a non-finite value, or `stopped` as asked.

    Attributes:
        precision: that the steps were computed in.
        engine: that executed them.
        reason: which value was not finite, and when; None otherwise.
        fallback: why the engine is not the one that `auto` would rather take, or None.
    """

    status: Literal["finished", "diverged", "stopped"]
    progress: Progress
    precision: str
    engine: str
    reason: str | None = None
    fallback: str | None = None


def train(
    model: Model,
    batches: Batches,
    config: RunConfig,
    folder: RunFolder,
    observer: Observer,
    stop: Callable[[], bool],
    engine_name: str = "auto",
    film: Film | None = None,
) -> Outcome:
    """Train a model from where its folder's checkpoint stands, or from the start, to its budget.

    The same configuration ends with the same weights, bit for bit on a CPU, however often it is killed and resumed:
    every draw is seeded by (seed, purpose, images seen). A checkpoint is written once a minute, when `stop` says so,
    and at the end.

    Where several processes share the batches, all of them call this; only rank 0 touches the folder.
    """
    device, share = next(model.parameters()).device, batches.share
    optimisers = build_optimisers(model, config.training)
    chosen = choose_precision(config.training.precision, device)
    progress = take_up(folder.checkpoint_path, model, optimisers, config.hash(), share, chosen)
    if share.of > 1:
        progress.energy_j = None  # this process can't tell what the others' devices use
    elif not progress.images_seen:
        progress.energy_j = 0.0
    # A resumed run keeps to the precision that it began in, whatever this device would choose.
    precision = choose_precision(progress.precision, device)
    ledger = Ledger(device)
    ledger.restore(progress.window)
    trainer = Trainer(model, batches, optimisers, ledger, precision, config.seed)
    with leader_first(share):
        engine = build_engine(engine_name, trainer, device)
    run = _Run(model, batches, config, folder, observer, optimisers, progress, ledger, film)
    model.train()
    observer.started(progress.images_seen, config.training.images)
    with training_in(precision), synchronised(model, share, config.training.batch_norm):
        status, reason = run.to_the_end(engine, stop)
    for part in weighted(model.similarity):
        part.share = Share()  # the others leave next, and evaluation must not wait for them
    return Outcome(status, progress, precision, engine.name, reason, engine.fallback)


@dataclass(frozen=True)
class _Run:
    """A run's parts that the loop touches."""

    model: Model
    batches: Batches
    config: RunConfig
    folder: RunFolder
    observer: Observer
    optimisers: Optimisers
    progress: Progress
    ledger: Ledger
    film: Film | None

    def to_the_end(
        self, engine: Engine, stop: Callable[[], bool]
    ) -> tuple[Literal["finished", "diverged", "stopped"], str | None]:
        """THE loop."""
        progress, budget, share = self.progress, self.config.training.images, self.batches.share
        curve = Curve(self.folder, progress) if share.leads else None
        clock, weighed = Clock(progress, Meter(self.ledger.device)), False
        while True:
            if self.film is not None:
                self.film.take_due(progress.images_seen)
            done = progress.images_seen >= budget
            stopped, save_due = share.any(stop(), clock.save_due())
            log = progress.window_steps >= engine.log_steps or (done and progress.window_steps > 0)
            save = done or stopped or save_due
            if log or save:
                reading = self._read()
                # A diverged run's last row tells what led up to it.
                if curve is not None and reading.steps and (log or reading.culprit):
                    self.observer.advanced(progress.images_seen, curve.write_row(progress.images_seen, reading))
                if reading.culprit:
                    clock.tick()
                    return "diverged", f"{reading.culprit} after {progress.images_seen} images"
                if log:
                    self._clear()
            if save:
                clock.tick()
                if share.leads:
                    path = self.folder.checkpoint_path
                    save_checkpoint(path, self.model, self.optimisers, progress, self.config.hash())
            if done or stopped:
                return "finished" if done else "stopped", None

            weighed = weighed or weigh_similarity(self.model, self.batches, self.config, progress.images_seen)
            engine.step(progress.images_seen)
            progress.images_seen += self.batches.batch_size
            progress.window_steps += 1
            self.observer.advanced(progress.images_seen, {})

    def _read(self) -> Reading:
        """Read the ledger into the progress; of steps after the first bad one nothing is counted."""
        reading = self.ledger.read()
        self.progress.images_seen -= (self.progress.window_steps - reading.steps) * self.batches.batch_size
        self.progress.window, self.progress.window_steps = reading.window, reading.steps
        return reading

    def _clear(self) -> None:
        self.ledger.clear()
        self.progress.window, self.progress.window_steps = [], 0


def weigh_similarity(model: Model, batches: Batches, config: RunConfig, images_seen: int) -> bool:
    """Measure the similarity's automatic weight, once, as soon as the similarity counts; say whether that is done."""
    if images_seen < model.similarity_from:
        return False
    for part in weighted(model.similarity):
        part.share = batches.share
        if not part.calibrated and not part.measured:
            batches.share.seed(config.seed, "weight")
            first = [batches.draw(images_seen + i * batches.batch_size) for i in range(WEIGHT_BATCHES)]
            part.weight.fill_(measure_weight(model, part.similarity, first))
    return True


class Clock:
    """Adds the wall-clock time and the energy of training to the progress, and says when a checkpoint is due."""

    def __init__(self, progress: Progress, meter: Meter) -> None:
        self.progress = progress
        self.meter = meter
        self.since = self.saved = time.perf_counter()

    def tick(self) -> None:
        """Add the time since the last tick, and the energy; of a run with a part that is not known, none is."""
        now = time.perf_counter()
        self.progress.train_s += now - self.since
        self.since = self.saved = now
        joules, before = self.meter.read(), self.progress.energy_j
        self.progress.energy_j = None if joules is None or before is None else before + joules

    def save_due(self) -> bool:
        """Whether the last checkpoint is `SAVE_S` old."""
        return time.perf_counter() - self.saved >= SAVE_S
