"""Mean and covariance of features, and the Fréchet distance between two sets of them.

d² = |μ₁ − μ₂|² + tr(Σ₁ + Σ₂ − 2(Σ₁Σ₂)^½), the squared Fréchet (2-Wasserstein) distance between the Gaussians with these
moments (Dowson & Landau 1982; Heusel et al. 2017, eq. 6).
"""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from genbench.errors import GenbenchError, NotApplicable


@dataclass(frozen=True)
class Moments:
    """The first two moments of a set of features.

    Attributes:
        count: how many images.
        mean: (F,) float64 on the CPU.
        covariance: (F, F) float64 on the CPU, unbiased (divided by count − 1).
    """

    count: int
    mean: Tensor
    covariance: Tensor


def measure(features: Iterable[Tensor]) -> Moments:
    """Accumulate the moments of batches of features, each (N, F), in float64 and one pass.

    Batches are merged as by Chan, Golub & LeVeque 1983, eq. 1.5, so nothing is lost to cancellation where the mean
    is large beside the deviations.

    Raises:
        NotApplicable: there are fewer than two images.
        GenbenchError: a feature is not finite.
    """
    count, mean, scatter = 0, torch.zeros(()), torch.zeros(())
    for batch in features:
        wide = _double(batch)
        if not wide.isfinite().all():
            raise GenbenchError("features of images are not finite", "look at the images: has the model diverged?")
        size, own = len(wide), wide.mean(0)
        centred = wide - own
        shift = own - mean if count else torch.zeros_like(own)
        total = count + size
        mean = mean + shift * (size / total) if count else own
        scatter = (scatter if count else 0) + centred.T @ centred + torch.outer(shift, shift) * (count * size / total)
        count = total
    if count < 2:
        raise NotApplicable(f"moments need at least two images, there are {count}")
    return Moments(count, mean.cpu(), (scatter / (count - 1)).cpu())


def frechet_distance(a: Moments, b: Moments) -> float:
    """Return the squared Fréchet distance between two sets of features, never negative.

    The trace of (Σ₁Σ₂)^½ is the nuclear norm of Σ₁^½Σ₂^½, which, unlike the eigenvalues of the product, stays real and
    exact where there are fewer images than features and the covariances are singular.
    """
    if a.mean.shape != b.mean.shape:
        raise ValueError(f"features of {len(a.mean)} and of {len(b.mean)} dimensions have no distance")
    root = torch.linalg.svdvals(_square_root(a.covariance) @ _square_root(b.covariance)).sum()
    squared = (a.mean - b.mean).square().sum() + a.covariance.trace() + b.covariance.trace() - 2 * root
    return max(0.0, float(squared))


def _square_root(covariance: Tensor) -> Tensor:
    """Return the symmetric square root; eigenvalues that rounding can't tell from zero are zero."""
    values, vectors = torch.linalg.eigh(covariance)
    noise = values[-1] * len(values) * torch.finfo(values.dtype).eps
    scales: Tensor = torch.where(values > noise, values, 0).sqrt()
    root: Tensor = (vectors * scales) @ vectors.T
    return root


def _double(batch: Tensor) -> Tensor:
    # Apple's MPS has no float64.
    return batch.detach().cpu().double() if batch.device.type == "mps" else batch.detach().double()
