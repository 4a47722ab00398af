"""Gradient routing: each network's parameters receive the gradient of that network's own loss and of nothing else.

Larsen et al. 2016, Algorithm 1: the encoder sees KL + L_like, the decoder γ·L_like − L_GAN, the discriminator L_GAN alone,
and all three gradients are computed before any network moves.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Losses:
    """What one batch costs each network.

    Attributes:
        of: for each network that should move, the scalar that it alone minimises. A network left out stays where it is.
        log: scalars for the training curve, detached by whoever reads them.
        gates: for some networks a 0-dim boolean; False holds the network where it is for this step.
    """

    of: Mapping[str, Tensor]
    log: Mapping[str, Tensor] = field(default_factory=dict)
    gates: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Gradients:
    """The gradient of each network's own loss, in the order of its trainable parameters; None where a parameter plays no part."""

    of: Mapping[str, tuple[Tensor | None, ...]]
    log: Mapping[str, Tensor] = field(default_factory=dict)
    gates: Mapping[str, Tensor] = field(default_factory=dict)


def trainable(network: nn.Module) -> list[nn.Parameter]:
    """Return the parameters that an optimiser may move, in their registered order."""
    return [p for p in network.parameters() if p.requires_grad]


def route(networks: Mapping[str, nn.Module], losses: Losses) -> Gradients:
    """Differentiate each loss with respect to its own network's parameters only.

    Raises:
        KeyError: a loss is named after no network.
    """
    names = list(losses.of)
    gradients = {}
    for position, name in enumerate(names):
        last = position == len(names) - 1
        gradients[name] = torch.autograd.grad(
            losses.of[name], trainable(networks[name]), retain_graph=not last, allow_unused=True
        )
    log = {key: value.detach() for key, value in losses.log.items()}
    return Gradients(gradients, log, losses.gates)
