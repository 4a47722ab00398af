"""The training loop: done? → log → save → draw the batch → gradients → finite? → step."""

import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor

from genbench.config import RunConfig
from genbench.data.batches import Batches
from genbench.interfaces import Gradients, Model
from genbench.randomness import derive
from genbench.store import RunFolder, append, write_atomic
from genbench.train.checkpoint import Progress, load_checkpoint, save_checkpoint
from genbench.train.optimisers import build_optimisers, step
from genbench.train.weighting import WeightedSimilarity, measure_weight

LOG_STEPS = 50
"""Steps between two rows of the training curve."""
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
        reason: which value was not finite, and when; None otherwise.
    """

    status: Literal["finished", "diverged", "stopped"]
    progress: Progress
    reason: str | None = None


def train(
    model: Model, batches: Batches, config: RunConfig, folder: RunFolder, observer: Observer, stop: Callable[[], bool]
) -> Outcome:
    """Train a model from where its folder's checkpoint stands, or from the start, to its budget.

    The same configuration ends with the same weights, bit for bit on a CPU, however often it is killed and resumed:
    every draw is seeded by (seed, purpose, images seen). A checkpoint is written once a minute, when `stop` says so,
    and at the end.
    """
    config_hash, budget = config.hash(), config.training.images
    optimisers = build_optimisers(model, config.training)
    progress = load_checkpoint(folder.checkpoint_path, model, optimisers, config_hash) or Progress()
    curve = Curve(folder, progress)
    clock = Clock(progress)
    observer.started(progress.images_seen, budget)
    model.train()
    while True:
        done, stopped = progress.images_seen >= budget, stop()
        if progress.window_steps >= LOG_STEPS or (done and progress.window_steps):
            observer.advanced(progress.images_seen, curve.write_row())
        if done or stopped or clock.save_due():
            clock.tick()
            save_checkpoint(folder.checkpoint_path, model, optimisers, progress, config_hash)
        if done or stopped:
            return Outcome("finished" if done else "stopped", progress)

        weigh_similarity(model, batches, config, progress.images_seen)
        torch.manual_seed(derive(config.seed, "step", progress.images_seen))
        batch = batches.draw(progress.images_seen)
        gradients = model.gradients(batch)
        if (culprit := non_finite(gradients)) is not None:
            if progress.window_steps:  # what led up to it
                observer.advanced(progress.images_seen, curve.write_row())
            clock.tick()
            return Outcome("diverged", progress, f"{culprit} after {progress.images_seen} images")
        step(model, optimisers, gradients)
        curve.add(gradients)
        progress.images_seen += batches.batch_size
        observer.advanced(progress.images_seen, {})


def weigh_similarity(model: Model, batches: Batches, config: RunConfig, images_seen: int) -> None:
    """Measure the similarity's automatic weight, once, as soon as the similarity counts."""
    similarity = model.similarity
    if not isinstance(similarity, WeightedSimilarity) or similarity.measured or images_seen < model.similarity_from:
        return
    torch.manual_seed(derive(config.seed, "weight"))
    first = [batches.draw(images_seen + i * batches.batch_size) for i in range(WEIGHT_BATCHES)]
    similarity.weight.fill_(measure_weight(model, similarity.similarity, first))


def non_finite(gradients: Gradients) -> str | None:
    """Return what is NaN or infinite among a step's scalars and gradients, or None."""
    for name, value in gradients.log.items():
        if not bool(value.isfinite()):
            return f"{name} is {float(value)}"
    for name, network_gradients in gradients.of.items():
        present = [g for g in network_gradients if g is not None]
        if present and not math.isfinite(gradient_norm(present)):
            return f"the gradient of {name} is not finite"
    return None


def gradient_norm(gradients: list[Tensor]) -> float:
    """Return the Euclidean norm of several tensors taken as one vector."""
    return float(torch.stack(torch._foreach_norm(gradients)).square().sum().sqrt())


class Curve:
    """`curve.jsonl`: a row for every `LOG_STEPS` steps, their mean; resuming cuts what the checkpoint lacks."""

    def __init__(self, folder: RunFolder, progress: Progress) -> None:
        self.path = folder.curve_path
        self.progress = progress
        rows = self.path.read_text().splitlines() if self.path.exists() else []
        # Where the checkpoint's window is open, a row that ends with the checkpoint was written when training diverged.
        last = progress.images_seen - (1 if progress.window_steps else 0)
        kept = [row for row in rows if _images_seen(row) <= last]
        write_atomic(self.path, "".join(f"{row}\n" for row in kept))

    def add(self, gradients: Gradients) -> None:
        """Add one step's scalars, and whether each gate was open, to the window."""
        scalars = {**gradients.log, **{f"moved.{name}": gate for name, gate in gradients.gates.items()}}
        for name, value in scalars.items():
            window = self.progress.window.setdefault(name, [0.0, 0])
            window[0] += float(value)
            window[1] += 1
        self.progress.window_steps += 1

    def write_row(self) -> dict[str, float]:
        """Append the window's finite means as a row, and begin the next window."""
        row = {"images_seen": float(self.progress.images_seen)}
        means = {name: total / number for name, (total, number) in self.progress.window.items()}
        row |= {name: mean for name, mean in means.items() if math.isfinite(mean)}  # a sum may overflow
        self.progress.window.clear()
        self.progress.window_steps = 0
        append(self.path, json.dumps(row, allow_nan=False) + "\n")
        return row


def _images_seen(row: str) -> float:
    """Return a row's progress; a row that a kill cut in half counts as past everything."""
    try:
        return float(json.loads(row)["images_seen"])
    except (ValueError, KeyError, TypeError):
        return math.inf


class Clock:
    """Adds the wall-clock time of training to the progress, and says when a checkpoint is due."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self.since = self.saved = time.perf_counter()

    def tick(self) -> None:
        """Add the time since the last tick."""
        now = time.perf_counter()
        self.progress.train_s += now - self.since
        self.since = self.saved = now

    def save_due(self) -> bool:
        """Whether the last checkpoint is `SAVE_S` old."""
        return time.perf_counter() - self.saved >= SAVE_S
