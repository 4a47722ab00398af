"""The optimisers, step by step against their papers' formulas."""

import math

import pytest
import torch
from torch import Tensor

from genbench.config import NetworkConfig, TrainingConfig
from genbench.interfaces import Batch, Gradients, Losses, Model
from genbench.networks import Blueprint
from genbench.train.optimisers import build_optimisers, step

CONFIG = TrainingConfig(images=1, learning_rate=0.01)


class Bare(Model):
    """One network and nothing else."""

    def __init__(self, network: torch.nn.Module) -> None:
        super().__init__(Blueprint(1, 16, NetworkConfig(), 1, 0))
        self.networks = torch.nn.ModuleDict({"only": network})

    def losses(self, batch: Batch) -> Losses:
        raise NotImplementedError

    def decode(self, latents: Tensor, attributes: Tensor | None = None) -> Tensor:
        raise NotImplementedError


@pytest.mark.parametrize(("name", "momentum", "decay"), [("rmsprop", 0.0, 0.99), ("adam", 0.5, 0.999)])
def test_optimisers_step_as_their_papers_say(name: str, momentum: float, decay: float) -> None:
    """Kingma & Ba 2015, algorithm 1, in numbers; without momentum it is RMSProp with bias correction."""
    network = torch.nn.Linear(1, 1, bias=False)
    optimiser = build_optimisers(Bare(network), CONFIG.model_copy(update={"optimiser": name}))["only"]
    expected, m, v = network.weight.item(), 0.0, 0.0
    for t, gradient in enumerate([2.0, -0.5, 30.0], start=1):
        m, v = momentum * m + (1 - momentum) * gradient, decay * v + (1 - decay) * gradient**2
        expected -= 0.01 * (m / (1 - momentum**t)) / (math.sqrt(v / (1 - decay**t)) + 1e-8)
        step(Bare(network), {"only": optimiser}, Gradients({"only": (torch.tensor([[gradient]]),)}))
        assert network.weight.item() == pytest.approx(expected, rel=1e-5)
        assert network.weight.grad is None
