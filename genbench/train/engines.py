"""The engines beside the eager one, and the choice between them."""

import torch

from genbench.errors import GenbenchError, first_line
from genbench.train.engine import Engine, Trainer
from genbench.train.graph import CudaRecorder, GraphEngine

LOG_STEPS, LOG_STEPS_ON_GPU = 50, 500
"""Steps between two rows of the training curve: on a GPU every row is a moment that it waits for the host."""


class CompiledEngine(Engine):
    """Compiles each network with `torch.compile` for as long as a step takes; the step around them stays eager.

    Raises:
        GenbenchError: from the first step: they can't be compiled.
    """

    name = "compile"

    def __init__(self, trainer: Trainer, log_steps: int) -> None:
        super().__init__(trainer, log_steps)
        for network in trainer.model.networks.values():
            network.compile()
        self.calls = {network: network._compiled_call_impl for network in trainer.model.networks.values()}
        self._let(compiled=False)

    def step(self, images_seen: int) -> None:
        import torch._functorch.config as functorch

        self._let(compiled=True)
        try:
            # A step differentiates one forward pass several times, so its buffers must outlive the first.
            with functorch.patch(donated_buffer=False):
                super().step(images_seen)
        except torch._dynamo.exc.TorchDynamoException as error:
            raise GenbenchError(
                f"--engine compile: torch can't compile the networks: {first_line(error)}",
                "it needs a C++ compiler on a CPU, Triton on CUDA; --engine auto needs neither",
            ) from error
        finally:
            # Evaluation, and the measure of the similarity's weight, must not depend on the engine.
            self._let(compiled=False)

    def _let(self, compiled: bool) -> None:
        for network, call in self.calls.items():
            network._compiled_call_impl = call if compiled else None


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
    return GraphEngine(trainer, log_steps, CudaRecorder(device))


def _hindrance(trainer: Trainer, device: torch.device) -> str | None:
    """Say why steps can't be captured, or return None."""
    if device.type != "cuda":
        return f"CUDA graphs need a CUDA device, this is {device}"
    if trainer.batches.share.of > 1:
        return "several processes train together"
    if trainer.model.phase(0) is None:
        return f"{type(trainer.model).__name__} does not say that its steps are alike (`phase`)"
    return None
