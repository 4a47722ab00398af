"""The GAN's costs and the gate that keeps its two sides level.

Goodfellow et al. 2014, equation 1; the gate is that of the code of Larsen et al. 2016.
"""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from genbench.adversarial.settings import AdversarialSettings
from genbench.train.sharing import Share


class Costs(NamedTuple):
    """Both sides' costs of one batch, scalars in nats per image.

    Attributes:
        discriminator: -L_GAN: the cost on real images plus that on the kinds of generated ones, their mean or sum.
        generator: what whoever made the generated images minimises.
        real: the discriminator's cost on real images.
        fake: the discriminator's mean cost on generated images, whichever of both counts.
    """

    discriminator: Tensor
    generator: Tensor
    real: Tensor
    fake: Tensor


def cross_entropy(logits: Tensor, label: float) -> Tensor:
    """Return the mean cross-entropy of sigmoid(logits) with one label, in nats."""
    return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, label))


def costs(real: Tensor, fakes: Mapping[str, Tensor], settings: AdversarialSettings, *, added_up: bool = False) -> Costs:
    """Return both sides' costs for logits on real images and on each kind of generated ones, all (N,).

    Args:
        added_up: whether those on kinds of generated images add up, as in Algorithm 1 of Larsen et al. 2016; else their
            mean counts.
    """
    over_kinds = torch.sum if added_up else torch.mean
    real_cost = cross_entropy(real, settings.real_label)
    by_kind = torch.stack([cross_entropy(logits, settings.fake_label) for logits in fakes.values()])
    fake_cost = over_kinds(by_kind)
    if settings.saturating:
        generator = -fake_cost
    else:
        generator = over_kinds(torch.stack([cross_entropy(logits, 1.0) for logits in fakes.values()]))
    return Costs(real_cost + fake_cost, generator, real_cost, by_kind.mean())


def gates(played: Costs, settings: AdversarialSettings, share: Share) -> tuple[Tensor, Tensor]:
    """Return whether the generator and whether the discriminator may move, two 0-dim booleans.

    The discriminator waits while either of its costs is under equilibrium - margin, the generator while either is over
    equilibrium + margin; where both would wait, both move. `share` of the whole batch, whose costs decide, is here.
    """
    if settings.margin == 0:
        both = torch.ones((), dtype=torch.bool, device=played.real.device)
        return both, both
    low, high = settings.equilibrium - settings.margin, settings.equilibrium + settings.margin
    either = share.mean(torch.stack([played.real, played.fake]))
    discriminator = (either >= low).all()
    generator = (either <= high).all()
    neither = ~(discriminator | generator)
    return generator | neither, discriminator | neither
