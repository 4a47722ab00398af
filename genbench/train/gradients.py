"""Gradient routing: each network's parameters receive the gradient of that network's own loss and of nothing else.

Larsen et al. 2016, Algorithm 1: the encoder sees KL + L_like, the decoder γ·L_like - L_GAN, the discriminator L_GAN
alone, and all three gradients are computed before any network moves.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice

import torch
from torch import Tensor, nn

Own = tuple[Tensor | None, ...]
"""One network's gradient, in the order of its trainable parameters; None where one has no part."""


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
    """The gradient of each network's own loss; scalars to log and gates as in `Losses`, detached."""

    of: Mapping[str, Own]
    log: Mapping[str, Tensor] = field(default_factory=dict)
    gates: Mapping[str, Tensor] = field(default_factory=dict)


def trainable(network: nn.Module) -> list[nn.Parameter]:
    """Return the parameters that an optimiser may move, in their registered order."""
    return [p for p in network.parameters() if p.requires_grad]


def route(networks: Mapping[str, nn.Module], losses: Losses) -> Gradients:
    """Differentiate each loss with respect to its own network's parameters only.

    Networks that minimise the very same tensor share one backward pass.

    Raises:
        KeyError: a loss is named after no network.
    """
    shared: dict[int, list[str]] = {}
    for name, loss in losses.of.items():
        shared.setdefault(id(loss), []).append(name)
    gradients: dict[str, Own] = {}
    for left, names in zip(reversed(range(len(shared))), shared.values(), strict=True):
        parameters = [trainable(networks[name]) for name in names]
        flat = iter(differentiate([losses.of[names[0]]], [p for own in parameters for p in own], retain_graph=left > 0))
        gradients |= {name: tuple(islice(flat, len(own))) for name, own in zip(names, parameters, strict=True)}
    return Gradients(gradients, detached(losses.log), losses.gates)


def detached(log: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return scalars without the graphs that they hang on."""
    return {key: value.detach() for key, value in log.items()}


def gradient_in(value: Tensor, images: Tensor) -> Tensor:
    """Return the gradient of a scalar in some images, zero where it does not depend on them; keeps the graph."""
    if not value.requires_grad:
        return torch.zeros_like(images)
    (gradient,) = differentiate([value], [images], retain_graph=True)
    return torch.zeros_like(images) if gradient is None else gradient


def differentiate(
    values: Sequence[Tensor],
    inputs: Sequence[Tensor],
    towards: Sequence[Tensor] | None = None,
    *,
    retain_graph: bool = False,
) -> Own:
    """Return the gradient of values in each input, None where they do not depend on it.

    Autocast is for the way forward: on the way back each operation goes by the types of its tensors. Left on, it would
    compute in bfloat16 what was float32 on purpose, such as the matrix products of a similarity.

    Args:
        towards: what the gradient in each value is; of scalars 1 where it is left out.
    """
    with torch.autocast(values[0].device.type, enabled=False):
        return torch.autograd.grad(values, inputs, towards, retain_graph=retain_graph, allow_unused=True)
