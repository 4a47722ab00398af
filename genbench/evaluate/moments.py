"""Mean and covariance of features, and the Fréchet distance between two sets of them with its sampling error.

d² = |μ₁ − μ₂|² + tr(Σ₁ + Σ₂ − 2(Σ₁Σ₂)^½), the squared Fréchet (2-Wasserstein) distance between the Gaussians with these
moments (Dowson & Landau 1982; Heusel et al. 2017, eq. 6).
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from genbench.errors import GenbenchError, NotApplicable

BLOCK = 1024
"""Rows added to the moments at a time: enough for a product of matrices to run at the processor's full rate."""


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
    """Accumulate the moments of batches of features, each (N, F), in float64, in one pass and in constant memory.

    Blocks of rows are merged as by Chan, Golub & LeVeque 1983, eq. 1.5, so nothing is lost to cancellation where the
    mean is large beside the deviations. How the rows come in batches does not matter.

    Raises:
        NotApplicable: there are fewer than two images.
        GenbenchError: a feature is not finite.
    """
    running = _Running()
    for block in _blocks(features):
        running.add(block)
    if running.count < 2:
        raise NotApplicable(f"moments need at least two images, there are {running.count}")
    return Moments(running.count, running.mean.cpu(), running.scatter.div_(running.count - 1).cpu())


class _Running:
    """Count, mean and scatter, Σ (x − μ)(x − μ)ᵀ, of the rows so far."""

    def __init__(self) -> None:
        self.count = 0
        self.mean = torch.zeros(())
        self.scatter = torch.zeros(())

    def add(self, block: Tensor) -> None:
        """Add rows (N, F) in float64, which are spoiled."""
        require_finite(block)
        size, own = len(block), block.mean(0)
        centred = block.sub_(own)
        if not self.count:
            self.count, self.mean, self.scatter = size, own, centred.T @ centred
            return
        shift, total = own - self.mean, self.count + size
        self.scatter.addmm_(centred.T, centred)
        self.scatter.addr_(shift, shift, alpha=self.count * size / total)
        self.mean = self.mean + shift * (size / total)
        self.count = total


def _blocks(features: Iterable[Tensor]) -> Iterator[Tensor]:
    """Yield the rows in float64, BLOCK at a time, in a buffer that is filled anew each time."""
    buffer, filled = torch.empty(0), 0
    for batch in features:
        # Apple's MPS has no float64.
        rest = batch.detach().cpu() if batch.device.type == "mps" else batch.detach()
        if not len(buffer):
            buffer = torch.empty(BLOCK, rest.shape[1], dtype=torch.float64, device=rest.device)
        while len(rest):
            part, rest = rest[: BLOCK - filled], rest[BLOCK - filled :]
            buffer[filled : filled + len(part)] = part
            filled += len(part)
            if filled == BLOCK:
                yield buffer
                filled = 0
    if filled:
        yield buffer[:filled]


def require_finite(features: Tensor) -> None:
    """Raise a GenbenchError where a feature is not finite."""
    if not features.isfinite().all():
        raise GenbenchError("features of images are not finite", "look at the images: has the model diverged?")


def frechet_distance(a: Moments, b: Moments) -> float:
    """Return the squared Fréchet distance between two sets of features, never negative.

    With Σ₁ = L₁L₁ᵀ and Σ₂ = L₂L₂ᵀ, the trace of (Σ₁Σ₂)^½ is the sum of the singular values of L₁ᵀL₂, which, unlike the
    eigenvalues of the product, stay real and exact where there are fewer images than features and the covariances are
    singular.
    """
    if a.mean.shape != b.mean.shape:
        raise ValueError(f"features of {len(a.mean)} and of {len(b.mean)} dimensions have no distance")
    root = torch.linalg.svdvals(_factor(a.covariance).T @ _factor(b.covariance)).sum()
    squared = (a.mean - b.mean).square().sum() + a.covariance.trace() + b.covariance.trace() - 2 * root
    return max(0.0, float(squared))


def _factor(covariance: Tensor) -> Tensor:
    """Return L (F, rank) with LLᵀ = Σ; what rounding can't tell from a lower rank is of a lower rank.

    Cholesky's decomposition with complete pivoting (Higham 2002, section 10.3), ten times as fast as a square root by
    eigenvectors.
    """
    from scipy.linalg.lapack import dpstrf  # takes long to import, and few runs come so far

    factor, order, rank, _ = dpstrf(covariance.numpy(), lower=1)
    lower = torch.from_numpy(factor).tril_()[:, :rank]
    rows = torch.from_numpy(order.astype("int64")) - 1
    return torch.empty_like(lower).index_copy_(0, rows, lower)


def frechet_influence(real: Moments, generated: Moments, features: Tensor) -> Tensor:
    """Return the influence of generated images on the squared Fréchet distance, with the real side held fixed.

    ψ(x) = 2(μ₂ − μ₁)ᵀ(x − μ₂) + (x − μ₂)ᵀ(I − T)(x − μ₂) − tr((I − T)Σ₂), with the optimal transport map from the
    generated Gaussian to the real one, T = Σ₁^½ (Σ₁^½ Σ₂ Σ₁^½)^-½ Σ₁^½. It is the derivative of the distance when the
    generated distribution is mixed with a point mass at x (Hampel 1974); I − T is its gradient in Σ₂ (Takatsu 2011).
    By the delta method the standard error of the distance over N generated images is std(ψ)/√N; of the bias it says
    nothing.

    T is L₁ (L₁ᵀ Σ₂ L₁)^-½ L₁ᵀ for any L₁ with L₁L₁ᵀ = Σ₁, inverted where rounding leaves it a rank: the directions left
    out are those in which the generated images hardly vary, and their share of ψ vanishes with that variation.

    Args:
        features: (N, F), of images that `generated` was measured on: all, or enough to tell the spread of ψ.

    Returns:
        (N,) float64, of mean nought over all images that were measured, but for a factor (count − 1) / count.
    """
    transport, roots = _transport(real.covariance, generated.covariance)
    shift = 2 * (generated.mean - real.mean)
    level = generated.covariance.trace() - roots.sum()
    parts = []
    for block in torch.split(features, BLOCK):
        centred = block.double() - generated.mean
        moved = (centred @ transport).square().sum(1)
        parts.append(centred @ shift + centred.square().sum(1) - moved - level)
    return torch.cat(parts)


def _transport(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Return A (F, rank) with AAᵀ = T, the map that carries N(0, Σ₂) to N(0, Σ₁), and the eigenvalues of (Σ₁Σ₂)^½."""
    lower = _factor(first)
    values, vectors = torch.linalg.eigh(lower.T @ second @ lower)
    kept = values > values[-1:] * len(first) * torch.finfo(values.dtype).eps
    roots = values[kept].sqrt()
    return lower @ vectors[:, kept] / roots.sqrt(), roots
