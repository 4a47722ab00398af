"""Latent arithmetic with visual attributes (Larsen et al. 2016): what an edit does to what is shown; pure.

An edit aims at one attribute: towards having it where an image lacks it, away where it has it. What an image shows is
the classifier's probability p of each attribute, or 2p - 1, from -1 (lacks it) to 1 (has it).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

PAIRED_IMAGES = 512
"""The mean distance between two images is over all pairs of the first so many."""


class Shown(NamedTuple):
    """What the classifier sees in N images: probabilities (N, A) in [0, 1] and features (N, F), float64."""

    probabilities: Tensor
    features: Tensor

    def head(self, count: int) -> "Shown":
        """Return what it sees in the first images."""
        return Shown(self.probabilities[:count], self.features[:count])

    @property
    def signs(self) -> Tensor:
        """Return 2p - 1, (N, A) in [-1, 1]."""
        return 2 * self.probabilities - 1


@dataclass(frozen=True)
class Effects:
    """What edits of K attributes do to N images; all (N, K) but the last.

    Attributes:
        cosine: between what is shown after the edit and what is aimed at.
        success: 1 where the attribute is shown as aimed at, else 0.
        direction: cosine between the change of what is shown and the change wanted; 0 where nothing changes.
        move: of the edited attribute's probability, towards what is aimed at; in [-1, 1].
        leakage: mean absolute move of the other attributes' probabilities, in [0, 1]; NaN where there is no other.
        distance: that the features move outside the attribute's own direction.
        entanglement: (K, A), how far each attribute's probability moves towards having it while the edited one's
            latent is moved towards having that; mean over images, in [-1, 1].
    """

    cosine: Tensor
    success: Tensor
    direction: Tensor
    move: Tensor
    leakage: Tensor
    distance: Tensor
    entanglement: Tensor


def random_vectors(count: int, vector: Tensor, seed: int) -> Tensor:
    """Return so many vectors of a vector's length, in directions drawn uniformly, (count, latent_size) float64."""
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randn(count, len(vector), generator=generator, dtype=torch.float64)
    vectors: Tensor = F.normalize(drawn, dim=1) * vector.norm()
    return vectors


def flipped(signs: Tensor, k: int) -> Tensor:
    """Return signs (N, A) with column k negated: what an edit of attribute k aims at."""
    target = signs.clone()
    target[:, k] = -target[:, k]
    return target


def measure_edit(before: Shown, after: Shown, target: Tensor, k: int, direction: Tensor) -> Effects:
    """Return what the edit of attribute k did, each statistic with one column.

    Args:
        before: what is shown unedited.
        after: what is shown after the edit.
        target: (N, A) in {-1, 1}, what the edit aims at.
        k: the attribute's column.
        direction: (F,), in which attribute k's logit grows.
    """
    change = after.probabilities - before.probabilities
    move = change[:, k] * target[:, k]
    length = change.norm(dim=1)
    others = change.shape[1] - 1
    leaked = (change.abs().sum(1) - change[:, k].abs()) / others if others else torch.full_like(move, torch.nan)
    return Effects(
        cosine=F.cosine_similarity(after.signs, target, dim=1)[:, None],
        success=(after.signs[:, k] * target[:, k] > 0).double()[:, None],
        direction=torch.where(length > 0, move / length.clamp(min=torch.finfo(length.dtype).tiny), 0.0)[:, None],
        move=move[:, None],
        leakage=leaked[:, None],
        distance=outside(after.features - before.features, direction).norm(dim=1)[:, None],
        entanglement=(change * target[:, k, None]).mean(0, keepdim=True),
    )


def gather(effects: Sequence[Effects]) -> Effects:
    """Return the effects of edits of several attributes as one."""
    return Effects(
        cosine=torch.cat([e.cosine for e in effects], 1),
        success=torch.cat([e.success for e in effects], 1),
        direction=torch.cat([e.direction for e in effects], 1),
        move=torch.cat([e.move for e in effects], 1),
        leakage=torch.cat([e.leakage for e in effects], 1),
        distance=torch.cat([e.distance for e in effects], 1),
        entanglement=torch.cat([e.entanglement for e in effects]),
    )


def outside(features: Tensor, direction: Tensor) -> Tensor:
    """Return features (N, F) with what lies along a direction (F,) taken out; all of them where it is zero."""
    unit = F.normalize(direction, dim=0)
    return features - (features @ unit)[:, None] * unit


def between_images(features: Tensor, directions: Tensor) -> Tensor:
    """Return the mean distance between two images' features outside each direction, (K,); zero for one image."""
    some = features[:PAIRED_IMAGES]
    if len(some) < 2:
        return torch.zeros(len(directions), dtype=features.dtype)
    return torch.stack([torch.pdist(outside(some, direction)).mean() for direction in directions])


def strongest(entanglement: Tensor, edited: Sequence[int], count: int) -> list[tuple[int, int]]:
    """Return the (row, column) of the largest moves of what was not edited, by absolute value.

    Args:
        entanglement: (K, A).
        edited: the column of each row's own attribute.
        count: how many to return at most.
    """
    others = entanglement.abs().clone()
    others[torch.arange(len(edited)), torch.tensor(edited)] = -1
    order = others.flatten().argsort(descending=True, stable=True).tolist()
    pairs = [divmod(place, others.shape[1]) for place in order]
    return [(row, column) for row, column in pairs if column != edited[row]][:count]
