"""A training step as one CUDA graph: recorded once, and from then on launched as a whole.

So no kernel waits for Python. "CUDA Graphs" in torch's notes on CUDA semantics tells what a recorded step must not do.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import torch

from genbench.data.fetching import Staged
from genbench.errors import GenbenchError, first_line
from genbench.train.engine import Engine, Trainer

WARM_UP = 3
"""Steps of a phase that run eagerly before it is recorded: kernels are chosen and states made in them."""


class WouldWait(Exception):
    """A step made the host wait for the device; such a step can't be recorded."""


class Recorder(Protocol):
    """What a device does for recording steps."""

    def aside(self, work: Callable[[], None]) -> None:
        """Do work on the stream that will be recorded, after all that was given to the device before."""

    def aside_without_waiting(self, work: Callable[[], None]) -> None:
        """Do the same.

        Raises:
            WouldWait: the host would wait for the device.
        """

    def record(self, work: Callable[[], None]) -> Callable[[], None]:
        """Record work without doing it, and return what does it.

        Raises:
            RuntimeError: it can't be recorded.
        """


@dataclass
class _Phase:
    """How far a phase has come: eager steps so far, then what replays it, and where that reads what differs."""

    steps: int = 0
    replay: Callable[[], None] | None = None
    staged: Staged = ()


class GraphEngine(Engine):
    """Replays each phase's step as one graph, after eager steps that warm up; where it can't, goes on eagerly."""

    name = "graph"

    def __init__(self, trainer: Trainer, log_steps: int, recorder: Recorder) -> None:
        super().__init__(trainer, log_steps)
        self.recorder = recorder
        self.phases: dict[str, _Phase] = {}

    def step(self, images_seen: int) -> None:
        name = self.trainer.model.phase(images_seen)
        if self.fallback is not None or name is None:
            super().step(images_seen)
            return
        phase = self.phases.setdefault(name, _Phase())
        staged = self.trainer.prepare(images_seen)
        if phase.steps < WARM_UP:
            phase.steps += 1
            self._warm_up(staged, images_seen, last=phase.steps == WARM_UP)
            return
        if phase.replay is None:
            self._record(phase, staged, images_seen)
        for there, new in zip(phase.staged, staged, strict=True):
            there.copy_(new, non_blocking=True)
        assert phase.replay is not None  # noqa: S101 (for the type checker)
        phase.replay()

    def _warm_up(self, staged: Staged, images_seen: int, last: bool) -> None:
        """Execute a step eagerly; in the last one, nothing may make the host wait."""
        if not last:
            self.recorder.aside(lambda: self.trainer.execute(staged, images_seen))
            return
        buffers = [(buffer, buffer.clone()) for buffer in self.trainer.model.buffers()]
        try:
            self.recorder.aside_without_waiting(lambda: self.trainer.execute(staged, images_seen))
        except WouldWait as error:
            # Nothing has moved yet but the running statistics of the networks that were passed through.
            for buffer, before in buffers:
                buffer.copy_(before)
            self.name, self.fallback = Engine.name, f"the step can't be captured: {error}"
            super().step(images_seen)

    def _record(self, phase: _Phase, staged: Staged, images_seen: int) -> None:
        phase.staged = tuple(tensor.clone() for tensor in staged)
        try:
            phase.replay = self.recorder.record(lambda: self.trainer.execute(phase.staged, images_seen))
        except RuntimeError as error:
            # What a failed recording leaves behind in the driver and in the allocator can't be trusted.
            raise GenbenchError(
                f"the step can't be captured as a CUDA graph: {_beginning(error)}",
                "--engine eager goes on from the last checkpoint",
                exit_code=1,
            ) from error
        self.trainer.prepare(images_seen)  # recording may have drawn from the generator: the replay begins afresh


class CudaRecorder:
    """Records on a stream of its own."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def aside(self, work: Callable[[], None]) -> None:
        with self._on_stream():
            work()

    def aside_without_waiting(self, work: Callable[[], None]) -> None:
        before = torch.cuda.get_sync_debug_mode()
        with self._on_stream():
            torch.cuda.set_sync_debug_mode("error")
            try:
                work()
            except RuntimeError as error:
                if "synchronizing CUDA operation" not in str(error):
                    raise
                raise WouldWait("it reads a tensor's value, or computes on the CPU") from error
            finally:
                torch.cuda.set_sync_debug_mode(before)

    def record(self, work: Callable[[], None]) -> Callable[[], None]:
        graph = torch.cuda.CUDAGraph()
        # Other threads may go on: the one that fetches batches allocates memory meanwhile.
        with torch.cuda.graph(graph, stream=self.stream, capture_error_mode="thread_local"):
            work()
        return graph.replay

    @contextmanager
    def _on_stream(self) -> Iterator[None]:
        """Take turns with the current stream, as torch demands of warm-up steps."""
        current = torch.cuda.current_stream(self.device)
        self.stream.wait_stream(current)
        with torch.cuda.stream(self.stream):
            yield
        current.wait_stream(self.stream)


def _beginning(error: BaseException) -> str:
    """Return what the error that began it all says: leaving a failed recording raises others."""
    while error.__context__ is not None:
        error = error.__context__
    return first_line(error)
