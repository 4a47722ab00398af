"""A Gaussian mixture fitted to what the encoder makes of the training images, to draw latents from.

Where q(z), the posteriors of all images together, is not the prior N(0, I), the prior draws latents that the decoder
was never trained on; a density fitted afterwards does not (Ghosh et al. 2020, "From variational to deterministic
autoencoders", section 4). As in pythae's `GaussianMixtureSampler`, the mixture is scikit-learn's, with full
covariances, and is fitted to one latent z = μ + σ·ε drawn from each image's posterior, not to its mean: that is what
the decoder saw in training, and units that ignore the image keep the variance of the prior.

The mixture models q(z) of one model, so samples from it depend on the encoder too.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from warnings import catch_warnings, simplefilter

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from genbench.errors import GenbenchError, NotApplicable
from genbench.interfaces import Posterior
from genbench.randomness import derive

FITTED_IMAGES = 20_000
"""The mixture is fitted to so many images at most, chosen at random where there are more."""

FITTED_TO = f"one draw from each posterior of {FITTED_IMAGES} training images at most"
"""What a protocol says of the fit."""

LIBRARY = "scikit-learn"
"""Whose version may move the fit, so that protocols name it."""

REGULARISATION = 1e-6
"""Added to every variance, as scikit-learn does; the prior's is 1."""

MAX_ITERATIONS = 500
"""Of expectation-maximisation, which ends when the mean log-likelihood grows by less than `TOLERANCE` nats."""

TOLERANCE = 1e-3

BLOCK = 1024
"""Latents drawn from one generator; the k-th is the same however many are asked for."""


@dataclass(frozen=True)
class Mixture:
    """A mixture of K Gaussians over latents; all float64 on the CPU.

    Attributes:
        weights: (K,), their sum 1.
        means: (K, latent_size).
        factors: (K, latent_size, latent_size), lower triangular; a covariance is L·Lᵀ.
        latents: how many latents it was fitted to.
        converged: whether the fit ended by itself; if not, it is the best that was found in `MAX_ITERATIONS`.
    """

    weights: Tensor
    means: Tensor
    factors: Tensor
    latents: int
    converged: bool


def fit(posterior: Posterior, components: int, seed: int) -> Mixture:
    """Fit a mixture to the posteriors of the training images, (N, latent_size) each part; raises as `fit_latents`."""
    return fit_latents(draw_posterior(posterior, derive(seed, "posterior")), components, derive(seed, "mixture"))


def draw_posterior(posterior: Posterior, seed: int) -> Tensor:
    """Draw one latent from each image's posterior, from `FITTED_IMAGES` of them at most; (M, latent_size) float64."""
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.randperm(len(posterior.mean), generator=generator)[:FITTED_IMAGES].sort().values
    mean, log_variance = (part[chosen].double() for part in posterior)
    noise = torch.randn(mean.shape, generator=generator, dtype=torch.float64)
    return Posterior(mean, log_variance).sample(noise)


def fit_latents(latents: Tensor, components: int, seed: int) -> Mixture:
    """Fit a mixture with full covariances by expectation-maximisation, begun from k-means, to latents (N, latent_size).

    Computed in one thread, so that the same latents give the same mixture whatever the number of threads.

    Raises:
        NotApplicable: there are too few latents for so many Gaussians, or they leave one without variance in some
            direction.
        GenbenchError: a latent is not finite.
    """
    count, size = latents.shape
    needed = components * (size + 1)
    if count < needed:
        raise NotApplicable(
            f"a mixture of {components} Gaussians over {size} latent dimensions needs {needed} training images at "
            f"least, {size + 1} for each covariance; there are {count}",
            "ask for fewer Gaussians, or sample from the prior",
        )
    if not latents.isfinite().all():
        raise GenbenchError("latents that a Gaussian mixture is to be fitted to are not finite", "did it diverge?")
    mixture = _expectation_maximisation(latents.double().numpy(), components, seed)
    if torch.linalg.svdvals(mixture.factors).square().min() < 2 * REGULARISATION:
        raise _singular(components)
    return mixture


def draw(mixture: Mixture, seed: int, count: int) -> Tensor:
    """Draw latents (count, latent_size), float32 on the CPU; the k-th depends on mixture, seed and k alone."""
    blocks = [_block(mixture, derive(seed, block)) for block in range(-(-count // BLOCK))]
    return torch.cat(blocks)[:count] if blocks else torch.empty(0, mixture.means.shape[1])


def _block(mixture: Mixture, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    edges = mixture.weights.cumsum(0)
    places = torch.rand(BLOCK, generator=generator, dtype=torch.float64)
    noise = torch.randn(BLOCK, mixture.means.shape[1], generator=generator, dtype=torch.float64)
    chosen = torch.searchsorted(edges, places, right=True).clamp(max=len(edges) - 1)
    latents = mixture.means[chosen]
    for k, factor in enumerate(mixture.factors):
        rows = chosen == k
        latents[rows] += noise[rows] @ factor.T
    return latents.float()


def _expectation_maximisation(latents: npt.NDArray[np.float64], components: int, seed: int) -> Mixture:
    from sklearn.mixture import GaussianMixture

    mixture = GaussianMixture(
        components,
        covariance_type="full",
        tol=TOLERANCE,
        reg_covar=REGULARISATION,
        max_iter=MAX_ITERATIONS,
        random_state=seed % 2**32,
    )
    with _one_thread(), _without_convergence_warnings():
        try:
            mixture.fit(latents)
        except ValueError as error:  # a covariance that has no Cholesky factor
            raise _singular(components) from error
    covariances = torch.from_numpy(mixture.covariances_)
    return Mixture(
        weights=torch.from_numpy(mixture.weights_),
        means=torch.from_numpy(mixture.means_),
        factors=torch.linalg.cholesky(covariances),
        latents=len(latents),
        converged=bool(mixture.converged_),
    )


@contextmanager
def _one_thread() -> Iterator[None]:
    """Keep the linear algebra to one thread: sums then have one order; more threads are slower on small matrices."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        yield


@contextmanager
def _without_convergence_warnings() -> Iterator[None]:
    """Silence what `Mixture.converged` and the check for singular covariances tell."""
    from sklearn.exceptions import ConvergenceWarning

    with catch_warnings():
        simplefilter("ignore", ConvergenceWarning)
        yield


def _singular(components: int) -> NotApplicable:
    return NotApplicable(
        f"a mixture of {components} Gaussians does not fit the latents: one of them has no variance in some direction",
        "ask for fewer Gaussians, or sample from the prior",
    )
