"""Precision and recall, density and coverage: who lies within whose neighbourhood among features.

The neighbourhood of an image is the closed ball around its features that reaches to its k-th nearest neighbour on its
own side. The scores are means over images, so each function here returns one value an image. Distances are computed in
float32, once for both scores of a pair.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from genbench.errors import NotApplicable
from genbench.evaluate.moments import require_finite

BLOCK = 1024
"""Rows of a matrix of distances held at a time."""


def precision_recall(generated: Tensor, real: Tensor, k: int = 3) -> tuple[Tensor, Tensor]:
    """Return whether each generated image lies in a real one's neighbourhood, and each real one in a generated one's.

    (N,) and (M,), float64 in {0, 1}: their means are the improved precision and recall (Kynkäänniemi et al. 2019, eq. 1
    and 2).

    Args:
        generated: (N, F) float32.
        real: (M, F) float32.
        k: neighbours.

    Raises:
        NotApplicable: one side has no more images than neighbours.
        GenbenchError: a feature is not finite.
    """
    generated, real = _prepared(generated, real, k)
    own, reach = _squared_radii(generated, k), _squared_radii(real, k)
    precise, recalled = [], torch.zeros(len(real), dtype=torch.bool)
    for radii, distances in zip(torch.split(own, BLOCK), _squared_distances(generated, real), strict=True):
        precise.append((distances <= reach).any(1))
        recalled |= (distances <= radii[:, None]).any(0)
    return torch.cat(precise).double(), recalled.double()


def density_coverage(generated: Tensor, real: Tensor, k: int = 5) -> tuple[Tensor, Tensor]:
    """Return in how many real neighbourhoods each generated image lies, over k, and whether each real one's holds any.

    (N,) float64 from 0 to M/k, and (M,) float64 in {0, 1}: their means are density and coverage (Naeem et al. 2020,
    section 3).

    Args and errors are those of `precision_recall`.
    """
    generated, real = _prepared(generated, real, k)
    reach = _squared_radii(real, k)
    counts, covered = [], torch.zeros(len(real), dtype=torch.bool)
    for distances in _squared_distances(generated, real):
        inside = distances <= reach
        counts.append(inside.sum(1))
        covered |= inside.any(0)
    return torch.cat(counts).double() / k, covered.double()


def _prepared(generated: Tensor, real: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Return both sides less the real mean, which moves no distance but keeps rounding small beside it."""
    for name, features in (("generated", generated), ("real", real)):
        if len(features) <= k:
            raise NotApplicable(
                f"{k} nearest neighbours need at least {k + 1} images, there are {len(features)} {name}"
            )
        require_finite(features)
    centre = real.mean(0, dtype=torch.float64).to(real.dtype)
    return generated - centre, real - centre


def _squared_radii(features: Tensor, k: int) -> Tensor:
    """Return the squared distance of each row to its k-th nearest among the others, (N,)."""
    radii = []
    for start, distances in zip(range(0, len(features), BLOCK), _squared_distances(features, features), strict=True):
        distances.diagonal(start).fill_(torch.inf)
        radii.append(distances.topk(k, largest=False).values[:, -1])
    return torch.cat(radii)


def _squared_distances(x: Tensor, y: Tensor) -> Iterator[Tensor]:
    """Yield the squared distances of each row of x to each of y, (BLOCK, M) at a time: |x|² + |y|² − 2xᵀy."""
    norms = y.square().sum(1)
    for rows in torch.split(x, BLOCK):
        distances = (rows @ y.T).mul_(-2).add_(norms).add_(rows.square().sum(1)[:, None])
        yield distances.clamp_(min=0)
