"""The Gaussian mixture over latents: its fit against known clusters, draws against closed forms and scikit-learn."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from genbench.errors import GenbenchError, NotApplicable
from genbench.evaluate import samplers
from genbench.evaluate.samplers import BLOCK, Mixture, draw, draw_posterior, fit, fit_latents
from genbench.interfaces import Posterior


def clusters(count: int, seed: int = 0) -> Tensor:
    """Draw from two Gaussians far apart, of which the first has three quarters."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(count, 3, generator=generator, dtype=torch.float64)
    first = torch.rand(count, generator=generator) < 0.75
    return torch.where(first[:, None], noise @ FACTORS[0].T - 4, noise @ FACTORS[1].T + 4)


FACTORS = torch.tensor(
    [[[1.0, 0, 0], [0.5, 0.5, 0], [0, 0, 2]], [[0.3, 0, 0], [0, 1, 0], [0.2, 0.2, 0.2]]], dtype=torch.float64
)


def known() -> Mixture:
    return Mixture(
        weights=torch.tensor([0.75, 0.25], dtype=torch.float64),
        means=torch.tensor([[-4.0, -4, -4], [4, 4, 4]], dtype=torch.float64),
        factors=FACTORS,
        latents=100,
        converged=True,
    )


def test_two_clusters_are_recovered() -> None:
    found = fit_latents(clusters(8000), 2, seed=0)
    order = found.weights.argsort(descending=True)
    weights, means, factors = found.weights[order], found.means[order], found.factors[order]
    torch.testing.assert_close(weights, known().weights, atol=0.015, rtol=0)
    torch.testing.assert_close(means, known().means, atol=0.1, rtol=0)
    torch.testing.assert_close(factors @ factors.mT, FACTORS @ FACTORS.mT, atol=0.12, rtol=0.06)
    assert found.converged
    assert found.latents == 8000


def test_draws_have_the_mixtures_moments() -> None:
    mixture = known()
    found = draw(mixture, 0, 200_000)
    assert found.dtype == torch.float32
    mean = mixture.weights @ mixture.means
    centred = mixture.means - mean
    covariance = (mixture.weights[:, None, None] * (FACTORS @ FACTORS.mT + centred[:, :, None] * centred[:, None])).sum(
        0
    )
    torch.testing.assert_close(found.double().mean(0), mean, atol=0.04, rtol=0)
    torch.testing.assert_close(torch.cov(found.double().T), covariance, rtol=0.02, atol=0.05)
    assert (found[:, 0] < 0).double().mean().item() == pytest.approx(0.75, abs=0.005)


def test_draws_are_as_likely_as_scikit_learns_own() -> None:
    from sklearn.mixture import GaussianMixture

    latents = clusters(4000)
    reference = GaussianMixture(3, random_state=0, tol=samplers.TOLERANCE, max_iter=500).fit(latents.numpy())
    found = fit_latents(latents, 3, seed=0)
    # The same seed, and the same fit.
    np.testing.assert_allclose(found.means.numpy(), reference.means_, rtol=1e-9)
    np.testing.assert_allclose(
        (found.factors @ found.factors.mT).numpy(), reference.covariances_, rtol=1e-9, atol=1e-12
    )
    ours, theirs = draw(found, 1, 40_000).double().numpy(), reference.sample(40_000)[0]
    assert reference.score(ours) == pytest.approx(reference.score(theirs), abs=0.03)
    np.testing.assert_allclose(
        np.quantile(ours, [0.05, 0.5, 0.9], 0), np.quantile(theirs, [0.05, 0.5, 0.9], 0), atol=0.15
    )


def test_the_kth_draw_is_the_same_however_many_are_asked_for() -> None:
    mixture = known()
    many = draw(mixture, 7, 3 * BLOCK + 5)
    assert many.shape == (3 * BLOCK + 5, 3)
    for count in (0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK + 17):
        assert torch.equal(draw(mixture, 7, count), many[:count])
    assert not torch.equal(draw(mixture, 8, 10), many[:10])
    assert not torch.equal(many[:BLOCK], many[BLOCK : 2 * BLOCK])


@pytest.mark.filterwarnings("error")
def test_threads_move_neither_the_fit_nor_the_draws() -> None:
    latents, before = clusters(3000), torch.get_num_threads()
    found = []
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            mixture = fit_latents(latents, 4, seed=5)
            found.append((mixture, draw(mixture, 0, 2000)))
    finally:
        torch.set_num_threads(before)
    (one, first), (other, second) = found
    assert torch.equal(one.means, other.means)
    assert torch.equal(one.factors, other.factors)
    torch.testing.assert_close(first, second, rtol=1e-6, atol=1e-6)


def test_the_fit_depends_on_the_seed_alone() -> None:
    latents = torch.randn(600, 2, generator=torch.Generator().manual_seed(0))
    one, same, other = (fit_latents(latents, 5, seed) for seed in (0, 0, 2**40 + 1))
    assert torch.equal(one.means, same.means)
    assert not torch.equal(one.means, other.means)


def test_what_the_encoder_is_unsure_of_is_in_the_mixture() -> None:
    # Two thirds of the variance of z lie in the posterior, none of unit 2's mean varies: fitted to means it would be 0.
    generator = torch.Generator().manual_seed(0)
    mean = torch.stack([torch.randn(20_000, generator=generator), torch.zeros(20_000)], 1)
    posterior = Posterior(mean, torch.tensor([2.0, 1.0]).log().expand(20_000, 2))
    found = fit(posterior, 1, seed=3)
    covariance = found.factors[0] @ found.factors[0].T
    torch.testing.assert_close(covariance, torch.diag(torch.tensor([3.0, 1.0]).double()), atol=0.06, rtol=0.03)


def test_many_images_are_thinned_out_at_random(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(samplers, "FITTED_IMAGES", 50)
    mean = torch.arange(200.0)[:, None]
    found = draw_posterior(Posterior(mean, torch.full_like(mean, -60.0)), seed=0)
    assert found.shape == (50, 1)
    rounded = found.round().flatten()
    assert len(rounded.unique()) == 50
    assert torch.equal(rounded, rounded.sort().values)
    assert rounded.max() > 150
    few = draw_posterior(Posterior(mean[:50], torch.full((50, 1), -60.0)), seed=0)
    assert torch.equal(few.round(), mean[:50].double())


def test_too_few_latents_are_refused_with_how_many_it_takes() -> None:
    with pytest.raises(NotApplicable, match=r"3 Gaussians over 4 latent dimensions needs 15 .* there are 14") as caught:
        fit_latents(torch.randn(14, 4), 3, 0)
    assert "fewer Gaussians" in str(caught.value.hint)


@pytest.mark.parametrize("flat", ["constant", "copied", "few distinct"])
def test_a_singular_fit_is_refused(flat: str) -> None:
    latents = torch.randn(400, 3, generator=torch.Generator().manual_seed(0))
    if flat == "constant":
        latents[:, 1] = 2
    elif flat == "copied":
        latents[:, 1] = latents[:, 0]
    else:
        latents = latents[:3].repeat(100, 1)
    with pytest.raises(NotApplicable, match="no variance in some direction"):
        fit_latents(latents, 4, 0)


def test_latents_that_are_not_finite_are_refused() -> None:
    latents = torch.randn(50, 2)
    latents[3, 1] = torch.inf
    with pytest.raises(GenbenchError, match="not finite"):
        fit_latents(latents, 2, 0)


def test_a_fit_that_takes_too_long_is_kept_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(samplers, "MAX_ITERATIONS", 1)
    latents = torch.randn(2000, 4, generator=torch.Generator().manual_seed(0))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = fit_latents(latents, 6, 0)
    assert not found.converged
    assert draw(found, 0, 10).isfinite().all()


def test_rounding_of_weights_leaves_no_draw_without_a_gaussian() -> None:
    mixture = known()
    short = replace(mixture, weights=mixture.weights * 0.5)  # what is missing falls to the last
    found = draw(short, 0, 4000)
    assert (found[:, 0] > 0).double().mean().item() == pytest.approx(1 - 0.375, abs=0.03)
