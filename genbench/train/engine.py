"""How a training step is executed: eagerly, compiled, or captured as one CUDA graph. The numbers are the same.

A step is seed → draw the batch → gradients → are they finite? → move, and never waits for the device: gates and checks
are tensors there, and what it logs is summed up there (`Ledger`).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from genbench.data.batches import Batches
from genbench.data.fetching import Staged
from genbench.errors import GenbenchError
from genbench.interfaces import Model
from genbench.randomness import derive
from genbench.train.ledger import Ledger
from genbench.train.optimisers import Optimisers, step
from genbench.train.precision import Precision, autocast

LOG_STEPS, LOG_STEPS_ON_GPU = 50, 500
"""Steps between two rows of the training curve: on a GPU every row is a moment that it waits for the host."""
WARM_UP = 3
"""Steps of a phase that run eagerly before it is captured: kernels are chosen and states made in them."""


@dataclass(frozen=True)
class Trainer:
    """All that a step needs.

    Attributes:
        seed: of the run.
    """

    model: Model
    batches: Batches
    optimisers: Optimisers
    ledger: Ledger
    precision: Precision
    seed: int

    def prepare(self, images_seen: int) -> Staged:
        """Do what the host has to do for a step: seed its noise, and put its images' places, or the images, there."""
        torch.manual_seed(derive(self.seed, "step", images_seen))
        return self.batches.stage(images_seen)

    def execute(self, staged: Staged, images_seen: int) -> None:
        """Do all the rest, on the device."""
        batch = self.batches.assemble(staged, images_seen)
        with autocast(self.precision, batch.images.device):
            gradients = self.model.gradients(batch)
        well = self.ledger.add(gradients)
        step(self.model, self.optimisers, gradients, well)


class Engine:
    """Executes steps eagerly; the others differ in `step` alone.

    Attributes:
        name: as in the record.
        log_steps: steps between two readings of the ledger.
    """

    name = "eager"

    def __init__(self, trainer: Trainer, log_steps: int) -> None:
        self.trainer = trainer
        self.log_steps = log_steps
        self.fallback: str | None = None

    def step(self, images_seen: int) -> None:
        """Train on the batch that follows after so many images."""
        self.trainer.execute(self.trainer.prepare(images_seen), images_seen)

    def close(self) -> None:
        """Leave the model as it was found, but for what it has learned."""


@dataclass
class _Captured:
    """One phase's step: a graph, and where it reads what differs from step to step."""

    graph: "torch.cuda.CUDAGraph"
    staged: Staged


@dataclass
class _Phase:
    """How far a phase has come: eager steps so far, then its graph."""

    steps: int = 0
    captured: _Captured | None = None


class GraphEngine(Engine):
    """Replays each phase's step as one CUDA graph, after eager ones that warm up; where it can't, goes on eagerly."""

    name = "graph"

    def __init__(self, trainer: Trainer, log_steps: int, device: torch.device) -> None:
        super().__init__(trainer, log_steps)
        self.device = device
        self.stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self.phases: dict[str, _Phase] = {}

    def step(self, images_seen: int) -> None:
        name = self.trainer.model.phase(images_seen)
        if self.fallback is not None or name is None:
            super().step(images_seen)
            return
        phase = self.phases.setdefault(name, _Phase())
        staged = self.trainer.prepare(images_seen)
        if phase.captured is None and phase.steps >= WARM_UP:
            phase.captured = self._capture(staged, images_seen)
        if phase.captured is None:
            with self._aside():
                self.trainer.execute(staged, images_seen)
            phase.steps += 1
            return
        for there, new in zip(phase.captured.staged, staged, strict=True):
            there.copy_(new, non_blocking=True)
        phase.captured.graph.replay()

    def _capture(self, staged: Staged, images_seen: int) -> _Captured | None:
        """Record a step, which does not execute it; or fall back, and keep why."""
        static = tuple(tensor.clone() for tensor in staged)
        graph = torch.cuda.CUDAGraph()
        try:
            # Other threads may go on: the one that fetches batches allocates memory meanwhile.
            with torch.cuda.graph(graph, stream=self.stream, capture_error_mode="thread_local"):
                self.trainer.execute(static, images_seen)
        except RuntimeError as error:  # a part that reads a tensor's value, or computes on the CPU
            self.name, self.fallback = Engine.name, f"the step can't be captured: {_first(error)}"
            return None
        finally:
            # Recording used up random numbers; the replay, or the eager step, begins where it would have begun.
            torch.manual_seed(derive(self.trainer.seed, "step", images_seen))
        return _Captured(graph, static)

    @contextmanager
    def _aside(self) -> Iterator[None]:
        """Run on the stream that will be captured, as torch demands of warm-up steps."""
        current = torch.cuda.current_stream(self.device)
        self.stream.wait_stream(current)
        with torch.cuda.stream(self.stream):
            yield
        current.wait_stream(self.stream)


def _first(error: BaseException) -> str:
    """Return the first line of the error that began it all: leaving a failed capture raises others."""
    while error.__context__ is not None:
        error = error.__context__
    return (str(error).splitlines() or [type(error).__name__])[0]


class CompiledEngine(Engine):
    """Compiles each network with `torch.compile`; the step around them stays eager.

    Raises:
        GenbenchError: from the first step: they can't be compiled.
    """

    name = "compile"

    def __init__(self, trainer: Trainer, log_steps: int) -> None:
        super().__init__(trainer, log_steps)
        for network in trainer.model.networks.values():
            network.compile()

    def step(self, images_seen: int) -> None:
        import torch._functorch.config as functorch

        try:
            # A step differentiates one forward pass several times, so its buffers must outlive the first.
            with functorch.patch(donated_buffer=False):
                super().step(images_seen)
        except torch._dynamo.exc.TorchDynamoException as error:
            raise GenbenchError(
                f"--engine compile: torch can't compile the networks: {_first(error)}",
                "it needs a C++ compiler on a CPU, Triton on CUDA; --engine auto needs neither",
            ) from error

    def close(self) -> None:
        for network in self.trainer.model.networks.values():
            network._compiled_call_impl = None  # evaluation is eager, so that a score does not depend on the engine


def build_engine(asked: str, trainer: Trainer, device: torch.device) -> Engine:
    """Return the engine that was asked for; `auto` captures graphs where it can, and keeps why where it can't.

    Raises:
        GenbenchError: it can't be had.
    """
    log_steps = LOG_STEPS_ON_GPU if device.type == "cuda" else LOG_STEPS
    if asked == "compile":
        return CompiledEngine(trainer, log_steps)
    hindrance = _hindrance(trainer, device)
    if asked == "graph" and hindrance:
        raise GenbenchError(f"--engine graph can't be used: {hindrance}", "--engine auto")
    if asked == "eager" or hindrance:
        engine = Engine(trainer, log_steps)
        engine.fallback = hindrance if asked == "auto" and device.type == "cuda" else None
        return engine
    return GraphEngine(trainer, log_steps, device)


def _hindrance(trainer: Trainer, device: torch.device) -> str | None:
    """Say why steps can't be captured, or return None."""
    if device.type != "cuda":
        return f"CUDA graphs need a CUDA device, this is {device}"
    if trainer.batches.share.of > 1:
        return "several processes train together"
    if trainer.model.phase(0) is None:
        return f"{type(trainer.model).__name__} does not say that its steps are alike (`phase`)"
    return None
