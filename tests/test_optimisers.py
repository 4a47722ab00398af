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
WELL = torch.ones((), dtype=torch.bool)


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
        step({"only": optimiser}, Gradients({"only": (torch.tensor([[gradient]]),)}), WELL)
        assert network.weight.item() == pytest.approx(expected, rel=1e-5)
        assert network.weight.grad is None


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_a_gradient_in_another_memory_format_moves_each_weight_by_its_own(layout: torch.memory_format) -> None:
    """The fused step pairs weights and gradients by their place in memory."""
    networks = [torch.nn.Conv2d(4, 8, 5, bias=False).to(memory_format=torch.channels_last) for _ in range(2)]
    networks[1].load_state_dict(networks[0].state_dict())
    gradient = torch.randn(8, 4, 5, 5).contiguous(memory_format=layout)
    optimisers = build_optimisers(Bare(networks[0]), CONFIG)
    reference = torch.optim.Adam(networks[1].parameters(), 0.01, betas=(0.0, 0.99), foreach=False)
    for _ in range(3):
        step(optimisers, Gradients({"only": (gradient,)}), WELL)
        networks[1].weight.grad = gradient.clone()
        reference.step()
    torch.testing.assert_close(networks[0].weight, networks[1].weight)


@pytest.mark.parametrize(("well", "gate", "moves"), [(True, True, True), (True, False, False), (False, True, False)])
def test_a_network_moves_only_if_all_is_well_and_its_gate_is_open(well: bool, gate: bool, moves: bool) -> None:
    network = torch.nn.Linear(2, 1)
    before = network.weight.detach().clone()
    optimisers = build_optimisers(Bare(network), CONFIG)
    gradients = Gradients({"only": (torch.ones(1, 2), None)}, gates={"only": torch.tensor(gate)})
    step(optimisers, gradients, torch.tensor(well))
    assert torch.equal(network.weight, before) is not moves
    assert float(optimisers["only"].dump()["0/step"]) == float(moves)
    assert not any(path.startswith("1/") for path in optimisers["only"].dump()), "without a gradient there is no state"
