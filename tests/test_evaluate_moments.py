"""Moments and the Fréchet distance against numpy, closed forms and torch-fidelity."""

import numpy as np
import pytest
import torch

from genbench.errors import GenbenchError, NotApplicable
from genbench.evaluate.moments import BLOCK, Moments, frechet_distance, frechet_influence, measure


def features(count: int, size: int, seed: int, offset: float = 0.0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(size, size, generator=generator)
    return torch.randn(count, size, generator=generator) @ mixing + offset


def gaussian(mean: list[float], covariance: list[list[float]]) -> Moments:
    return Moments(100, torch.tensor(mean, dtype=torch.float64), torch.tensor(covariance, dtype=torch.float64))


@pytest.mark.parametrize("batch", [1, 7, 50])
def test_moments_are_numpys_whatever_the_batch(batch: int) -> None:
    x = features(50, 6, 0)
    found = measure(x.split(batch))
    assert found.count == 50
    np.testing.assert_allclose(found.mean, x.double().numpy().mean(0), rtol=1e-12)
    np.testing.assert_allclose(found.covariance, np.cov(x.double().numpy(), rowvar=False), rtol=1e-10, atol=1e-12)


def test_how_rows_come_in_batches_moves_no_bit() -> None:
    x = features(2 * BLOCK + 100, 6, 0)
    whole = measure([x])
    for sizes in ([BLOCK, BLOCK, 100], [1, BLOCK, 70, BLOCK + 29], [len(x) - 1, 1], [0, len(x)]):
        found = measure(x.split(sizes))
        assert found.count == len(x)
        assert torch.equal(found.mean, whole.mean)
        assert torch.equal(found.covariance, whole.covariance)
    np.testing.assert_allclose(whole.covariance, np.cov(x.double().numpy(), rowvar=False), rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(whole.mean, x.double().numpy().mean(0), rtol=1e-12, atol=1e-14)


def test_features_are_left_as_they_are() -> None:
    x = features(50, 6, 0).double()
    before = x.clone()
    measure([x])
    assert torch.equal(x, before)


def test_a_large_mean_costs_no_precision() -> None:
    x = torch.randn(200, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    shifted = measure((x + 1e6).split(16)).covariance
    np.testing.assert_allclose(shifted, measure([x]).covariance, rtol=1e-6, atol=1e-9)


def test_distance_of_gaussians_in_closed_form() -> None:
    # One dimension: (μ₁ − μ₂)² + (σ₁ − σ₂)²; independent dimensions add up.
    a, b = gaussian([0.0, 1.0], [[4.0, 0.0], [0.0, 9.0]]), gaussian([3.0, 1.0], [[1.0, 0.0], [0.0, 25.0]])
    assert frechet_distance(a, b) == pytest.approx(9 + (2 - 1) ** 2 + (3 - 5) ** 2, rel=1e-12)


def test_distance_where_the_covariances_do_not_commute() -> None:
    # tr((Σ₁Σ₂)^½) of 2×2 matrices is √(tr(Σ₁Σ₂) + 2√det(Σ₁Σ₂)), by Cayley and Hamilton.
    first, second = np.array([[2.0, 1.0], [1.0, 3.0]]), np.array([[1.0, -0.5], [-0.5, 2.0]])
    product = first @ second
    root = np.sqrt(np.trace(product) + 2 * np.sqrt(np.linalg.det(product)))
    expected = np.trace(first) + np.trace(second) - 2 * root
    assert frechet_distance(gaussian([0, 0], first.tolist()), gaussian([0, 0], second.tolist())) == pytest.approx(
        expected, rel=1e-12
    )


@pytest.mark.parametrize("count", [10, 500])
def test_distance_is_nought_to_itself_and_symmetric(count: int) -> None:
    a, b = measure([features(count, 40, 1)]), measure([features(count, 40, 2)])
    assert frechet_distance(a, a) < 1e-9 * a.covariance.trace()
    assert frechet_distance(a, b) == pytest.approx(frechet_distance(b, a), rel=1e-10)
    assert frechet_distance(a, b) > 1


def test_distance_of_singular_covariances_in_orthogonal_directions() -> None:
    a, b = gaussian([0, 0], [[4.0, 0.0], [0.0, 0.0]]), gaussian([0, 0], [[0.0, 0.0], [0.0, 9.0]])
    assert frechet_distance(a, b) == pytest.approx(13, rel=1e-12)


def eigen(moments: Moments) -> torch.Tensor:
    """Return the covariance's square root by its eigenvectors."""
    values, vectors = torch.linalg.eigh(moments.covariance)
    return (vectors * values.clamp(min=0).sqrt()) @ vectors.T


@pytest.mark.parametrize(("first", "second"), [(200, 300), (10, 300), (10, 12), (2, 2)])
@pytest.mark.parametrize("decades", [0, 4])
def test_distance_is_that_of_the_square_roots(first: int, second: int, decades: int) -> None:
    # With as few images, or features of such different scales, a covariance is singular or nearly so.
    scales = torch.logspace(0, -decades, 40)
    a, b = measure([features(first, 40, 1) * scales]), measure([features(second, 40, 2) * scales])
    root = torch.linalg.svdvals(eigen(a) @ eigen(b)).sum()
    expected = (a.mean - b.mean).square().sum() + a.covariance.trace() + b.covariance.trace() - 2 * root
    assert frechet_distance(a, b) == pytest.approx(expected.item(), rel=1e-6)


def test_distance_of_features_of_which_some_or_all_are_constant() -> None:
    x, y = features(50, 6, 1), features(50, 6, 2)
    alive = frechet_distance(measure([x]), measure([y]))
    dead = torch.zeros(50, 3)
    a, b = (torch.cat([dead, z[:, :4], dead, z[:, 4:]], 1) for z in (x, y))
    assert frechet_distance(measure([a]), measure([b])) == pytest.approx(alive, rel=1e-10)
    assert frechet_distance(measure([dead]), measure([dead + 2])) == pytest.approx(12)
    spread = measure([x[:, :3]])
    assert frechet_distance(measure([dead]), spread) == pytest.approx(
        float(spread.mean.square().sum() + spread.covariance.trace())
    )


@pytest.mark.parametrize("count", [20, 400])
def test_distance_is_torch_fidelitys(count: int) -> None:
    from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric

    x, y = features(count, 64, 3).double(), features(count, 64, 4, offset=0.3).double()
    theirs = fid_statistics_to_metric(fid_features_to_statistics(x), fid_features_to_statistics(y), False)
    ours = frechet_distance(measure(x.split(16)), measure(y.split(16)))
    assert ours == pytest.approx(theirs["frechet_inception_distance"], rel=1e-5)


def test_one_image_has_no_moments() -> None:
    with pytest.raises(NotApplicable, match="at least two images"):
        measure([torch.ones(1, 3)])


def test_features_that_are_not_finite_are_refused() -> None:
    with pytest.raises(GenbenchError, match="not finite"):
        measure([torch.tensor([[1.0], [float("nan")]])])


def test_features_of_different_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="2 and of 3"):
        frechet_distance(measure([features(9, 2, 0)]), measure([features(9, 3, 0)]))


# -- the distance's sampling error


def normal(count: int, mean: torch.Tensor, factor: torch.Tensor, seed: int) -> torch.Tensor:
    noise = torch.randn(count, len(mean), dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return noise @ factor.T + mean


def test_influence_in_one_dimension_is_the_delta_methods() -> None:
    # d² = (μ₁ − μ₂)² + (σ₁ − σ₂)², and dσ₂ = dσ₂²/2σ₂.
    real, x = gaussian([3.0], [[4.0]]), features(200, 1, 0).double()
    generated = measure([x])
    mean, variance = generated.mean[0], generated.covariance[0, 0]
    expected = 2 * (mean - 3) * (x - mean) + (1 - 2 / variance.sqrt()) * ((x - mean).square() - variance)
    torch.testing.assert_close(frechet_influence(real, generated, x), expected[:, 0], rtol=1e-10, atol=1e-10)


def weighted(x: torch.Tensor, weights: torch.Tensor) -> Moments:
    mean = weights @ x
    centred = x - mean
    return Moments(len(x), mean, (centred * weights[:, None]).T @ centred)


@pytest.mark.parametrize("count", [5, 60])
def test_influence_is_what_a_little_more_weight_on_an_image_does(count: int) -> None:
    # With 5 images of 8 features the generated covariance is singular.
    real, x = measure([features(100, 8, 1)]), features(count, 8, 2, offset=0.5).double()
    even = torch.full((count,), 1 / count, dtype=torch.float64)
    influence = frechet_influence(real, weighted(x, even), x)
    step = 1e-5
    for i in range(4):
        point = torch.zeros(count, dtype=torch.float64)
        point[i] = 1
        up, down = (frechet_distance(real, weighted(x, even + h * (point - even))) for h in (step, -step))
        assert influence[i].item() == pytest.approx((up - down) / (2 * step), rel=1e-4, abs=1e-4)


def test_influence_is_nought_on_average_and_does_not_depend_on_blocks() -> None:
    real, x = measure([features(300, 6, 1)]), features(BLOCK + 100, 6, 2)
    even = torch.full((len(x),), 1 / len(x), dtype=torch.float64)
    generated = weighted(x.double(), even)
    whole = frechet_influence(real, generated, x)
    assert abs(whole.mean().item()) < 1e-9 * whole.std().item()
    torch.testing.assert_close(frechet_influence(real, generated, x[BLOCK - 3 :]), whole[BLOCK - 3 :])


def test_influence_of_features_of_which_some_or_all_are_constant() -> None:
    x, y = features(50, 6, 1), features(60, 6, 2)
    alive = frechet_influence(measure([x]), measure([y]), y)
    a, b = (torch.cat([z, torch.full((len(z), 2), 3.0)], 1) for z in (x, y))
    torch.testing.assert_close(frechet_influence(measure([a]), measure([b]), b), alive)
    dead = torch.zeros(60, 6)
    assert torch.equal(frechet_influence(measure([x]), measure([dead]), dead), torch.zeros(60, dtype=torch.float64))


@pytest.mark.parametrize("shift", [0.0, 0.7])
def test_standard_error_is_the_spread_over_draws(shift: float) -> None:
    size, count = 5, 1000
    generator = torch.Generator().manual_seed(0)
    first, second = torch.randn(2, size, size, dtype=torch.float64, generator=generator)
    zero = torch.zeros(size, dtype=torch.float64)
    real = Moments(10**9, zero + shift, first @ first.T)
    distances, errors = [], []
    for seed in range(400):
        x = normal(count, zero, second, seed)
        generated = measure([x])
        distances.append(frechet_distance(real, generated))
        errors.append(frechet_influence(real, generated, x).std().item() / count**0.5)
    assert np.mean(errors) == pytest.approx(np.std(distances), rel=0.15)


def test_distance_of_draws_comes_to_the_closed_form() -> None:
    size = 4
    generator = torch.Generator().manual_seed(1)
    first, second = torch.randn(2, size, size, dtype=torch.float64, generator=generator)
    zero = torch.zeros(size, dtype=torch.float64)
    a, b = Moments(10**9, zero, first @ first.T), Moments(10**9, zero + 1, second @ second.T)
    x, y = normal(200_000, a.mean, first, 2), normal(200_000, b.mean, second, 3)
    values = np.linalg.eigvals((a.covariance @ b.covariance).numpy())
    exact = size + (a.covariance + b.covariance).trace().item() - 2 * np.sqrt(values.real).sum()
    assert frechet_distance(a, b) == pytest.approx(exact, rel=1e-9)
    assert frechet_distance(measure(x.split(5000)), measure(y.split(5000))) == pytest.approx(exact, rel=0.02)
