"""Moments and the Fréchet distance against numpy, closed forms and torch-fidelity."""

import numpy as np
import pytest
import torch

from genbench.errors import GenbenchError, NotApplicable
from genbench.evaluate.moments import BLOCK, Moments, frechet_distance, measure


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
