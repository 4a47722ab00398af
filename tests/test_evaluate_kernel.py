"""The kernel distance against torch-fidelity, its definition and its own spread over draws."""

import numpy as np
import pytest
import torch
from torch import Tensor
from torch_fidelity.metric_kid import kid_features_to_metric

from genbench.errors import GenbenchError, NotApplicable
from genbench.evaluate.kernel import kernel_distance


def features(count: int, size: int, seed: int, offset: float = 0.0) -> Tensor:
    return torch.randn(count, size, generator=torch.Generator().manual_seed(seed)) + offset


def like_inceptions(count: int, seed: int, factor: float = 1.0) -> Tensor:
    """Return features as after a ReLU and an average: of a common mean, none negative."""
    return features(count, 2048, seed).mul(0.3).exp().mul(0.4 * factor)


def theirs(generated: Tensor, real: Tensor, subsets: int, subset_size: int) -> dict[str, float]:
    found: dict[str, float] = kid_features_to_metric(
        generated, real, kid_subsets=subsets, kid_subset_size=subset_size, verbose=False
    )
    return found


def test_distance_is_torch_fidelitys() -> None:
    generated, real = like_inceptions(500, 0, 1.1), like_inceptions(400, 1)
    expected = theirs(generated, real, 20, 300)
    found = kernel_distance(generated, real, subsets=20, subset_size=300)
    assert found.value == pytest.approx(expected["kernel_inception_distance_mean"], abs=1e-6)
    assert found.deviation == pytest.approx(expected["kernel_inception_distance_std"], abs=1e-6)
    assert found.value > 0.005


@pytest.mark.slow
def test_distance_is_torch_fidelitys_with_its_own_settings() -> None:
    generated, real = features(1200, 64, 0, 0.1), features(1000, 64, 1)
    expected = kid_features_to_metric(generated, real, verbose=False)
    found = kernel_distance(generated, real)
    assert found.value == pytest.approx(expected["kernel_inception_distance_mean"], abs=1e-6)
    assert found.deviation == pytest.approx(expected["kernel_inception_distance_std"], abs=1e-6)


def test_products_in_float32_lose_nothing_that_matters() -> None:
    generated, real = like_inceptions(300, 0, 1.02), like_inceptions(300, 1)
    settings = {"subsets": 10, "subset_size": 200}
    rounded, exact = (
        kernel_distance(g, r, **settings) for g, r in ((generated, real), (generated.double(), real.double()))
    )
    assert rounded.value == pytest.approx(exact.value, abs=1e-7)
    assert rounded.standard_error == pytest.approx(exact.standard_error, rel=1e-3)


def test_distance_of_all_images_is_the_definition() -> None:
    # A subset that is all images: a plain loop over pairs.
    x, y = features(7, 3, 0, 0.5).double(), features(7, 3, 1).double()

    def kernel(a: Tensor, b: Tensor) -> float:
        return float((a @ b / 3 + 1) ** 3)

    within = [kernel(s[i], s[j]) for s in (x, y) for i in range(7) for j in range(7) if i != j]
    between = [kernel(a, b) for a in x for b in y]
    expected = sum(within) / (7 * 6) - 2 * np.mean(between)
    assert kernel_distance(x, y, subsets=3, subset_size=7).value == pytest.approx(expected, rel=1e-12)


def test_distance_is_unbiased() -> None:
    # With xᵀy/F = t, E(t + 1)³ = 1 + 3E t + 3E t² + E t³; in one dimension, of N(μ, 1) and N(0, 1), it is closed.
    shift = 0.5
    moments = [np.array([1, m, 1 + m**2, m**3 + 3 * m]) for m in (shift, 0.0)]
    weights = np.array([1, 3, 3, 1])
    expected = float(weights @ (moments[0] - moments[1]) ** 2)
    drawn = [
        kernel_distance(features(20, 1, s, shift), features(20, 1, -s - 1), subsets=1, subset_size=20).value
        for s in range(800)
    ]
    assert np.mean(drawn) == pytest.approx(expected, abs=4 * np.std(drawn) / np.sqrt(800))


def error_and_spread(offset: float, subset_size: int, subsets: int) -> tuple[float, float]:
    """Return standard error (root mean square) and standard deviation of distances from one set of real images."""
    real = features(240, 8, 1000)
    # Other subsets each time: their choice is part of the spread.
    found = [
        kernel_distance(features(240, 8, seed, offset), real, subsets=subsets, subset_size=subset_size, seed=seed)
        for seed in range(300)
    ]
    return float(np.mean([one.standard_error**2 for one in found]) ** 0.5), float(np.std([one.value for one in found]))


@pytest.mark.parametrize(("subset_size", "subsets"), [(60, 20), (60, 2), (60, 1), (240, 1)])
def test_standard_error_is_the_spread_over_draws(subset_size: int, subsets: int) -> None:
    estimated, spread = error_and_spread(0.4, subset_size, subsets)
    assert estimated == pytest.approx(spread, rel=0.15)


def test_standard_error_is_no_less_than_the_spread_where_there_is_no_distance() -> None:
    estimated, spread = error_and_spread(0.0, 60, 20)
    assert spread < estimated < 1.6 * spread


def test_standard_error_stays_where_subsets_are_all_images() -> None:
    found = kernel_distance(features(100, 8, 0, 0.3), features(100, 8, 1), subsets=5, subset_size=100)
    assert found.deviation < 1e-9
    assert found.standard_error > 1e-3


def test_the_order_of_images_moves_the_subsets_alone() -> None:
    generated, real = features(300, 8, 0, 0.3), features(300, 8, 1)
    order = torch.randperm(300, generator=torch.Generator().manual_seed(0))
    first, second = (kernel_distance(g, real, subset_size=100) for g in (generated, generated[order]))
    assert first.value != second.value
    assert first.value == pytest.approx(second.value, abs=4 * first.deviation / 10)
    whole = [kernel_distance(g, real, subsets=2, subset_size=300).value for g in (generated, generated[order])]
    assert whole[0] == pytest.approx(whole[1], rel=1e-6)


def test_features_are_left_as_they_are() -> None:
    generated, real = features(50, 8, 0), features(50, 8, 1)
    before = generated.clone(), real.clone()
    kernel_distance(generated, real, subsets=2, subset_size=50)
    assert torch.equal(generated, before[0])
    assert torch.equal(real, before[1])


@pytest.mark.parametrize(("generated", "real", "side"), [(99, 100, "99 generated"), (100, 99, "99 real")])
def test_fewer_images_than_a_subset_are_too_few(generated: int, real: int, side: str) -> None:
    with pytest.raises(NotApplicable, match=f"subsets of 100 needs as many images, there are {side}") as caught:
        kernel_distance(features(generated, 4, 0), features(real, 4, 1), subset_size=100)
    assert "subset_size" in (caught.value.hint or "")


def test_features_that_are_not_finite_are_refused() -> None:
    spoiled = features(50, 4, 0)
    spoiled[3, 1] = torch.nan
    with pytest.raises(GenbenchError, match="not finite"):
        kernel_distance(features(50, 4, 1), spoiled, subset_size=50)
