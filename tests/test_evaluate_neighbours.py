"""Precision, recall, density and coverage against torch-fidelity and the papers' equations."""

import numpy as np
import pytest
import torch
from torch import Tensor
from torch_fidelity.metric_prc import calculate_precision_recall_full

from genbench.errors import GenbenchError, NotApplicable
from genbench.evaluate import neighbours
from genbench.evaluate.neighbours import density_coverage, precision_recall


def features(count: int, size: int, seed: int, offset: float = 0.0) -> Tensor:
    return torch.randn(count, size, generator=torch.Generator().manual_seed(seed)) + offset


def means(values: tuple[Tensor, Tensor]) -> tuple[float, float]:
    return values[0].mean().item(), values[1].mean().item()


@pytest.mark.parametrize(("size", "offset"), [(4, 0.5), (64, 0.1), (512, 3.0)])
def test_precision_and_recall_are_torch_fidelitys(size: int, offset: float) -> None:
    generated, real = features(300, size, 0, offset) * 0.9 + 5, features(250, size, 1) + 5
    expected = calculate_precision_recall_full(generated, real, 3)
    assert means(precision_recall(generated, real, 3)) == pytest.approx(expected, abs=1e-6)


def ball(points: np.ndarray, i: int, k: int) -> float:
    """NND_k(X_i): the distance from X_i to its k-th nearest neighbour but itself."""
    return float(sorted(np.linalg.norm(points[i] - points[j]) for j in range(len(points)) if j != i)[k - 1])


@pytest.mark.parametrize("k", [1, 5])
@pytest.mark.parametrize("offset", [0.0, 1.5])
def test_density_and_coverage_are_the_papers(k: int, offset: float) -> None:
    generated, real = features(40, 3, 0, offset), features(50, 3, 1)
    x, y = real.double().numpy(), generated.double().numpy()
    radii = [ball(x, i, k) for i in range(len(x))]
    inside = [[np.linalg.norm(x[i] - y[j]) <= radii[i] for i in range(len(x))] for j in range(len(y))]
    density = sum(sum(row) for row in inside) / (k * len(y))
    coverage = sum(any(row[i] for row in inside) for i in range(len(x))) / len(x)
    assert means(density_coverage(generated, real, k)) == pytest.approx((density, coverage), abs=1e-12)
    assert 0 < coverage < 1


def test_each_image_has_its_own_value() -> None:
    real = torch.tensor([[0.0], [1.0], [3.0], [10.0]])  # whose nearest neighbours lie at 1, 1, 2 and 7
    generated = torch.tensor([[0.5], [20.0], [4.0]])  # at 3.5, 16 and 3.5
    precise, recalled = precision_recall(generated, real, 1)
    assert precise.tolist() == [1, 0, 1]
    assert recalled.tolist() == [1, 1, 1, 1]
    density, covered = density_coverage(generated, real, 1)
    assert density.tolist() == [2, 0, 2]
    assert covered.tolist() == [1, 1, 1, 1]


@pytest.mark.parametrize("measure", [precision_recall, density_coverage])
def test_blocks_leave_none_out_and_keep_the_order(measure, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    generated, real = features(50, 4, 0, 0.5), features(47, 4, 1)
    whole = measure(generated, real)
    monkeypatch.setattr(neighbours, "BLOCK", 8)
    for found, expected in zip(measure(generated, real), whole, strict=True):
        assert torch.equal(found, expected)


@pytest.mark.parametrize("measure", [precision_recall, density_coverage])
def test_the_order_of_images_moves_nothing_but_the_order(measure) -> None:  # type: ignore[no-untyped-def]
    generated, real = features(60, 4, 0, 0.5), features(50, 4, 1)
    order = torch.randperm(60, generator=torch.Generator().manual_seed(0))
    (first, fixed), (second, same) = measure(generated, real), measure(generated[order], real)
    assert torch.equal(first[order], second)
    assert torch.equal(fixed, same)


def test_a_far_mean_costs_no_precision() -> None:
    generated, real = features(80, 16, 0, 0.3), features(80, 16, 1)
    # Steps of 2⁻⁸ are exact beside 1,000.
    near = (generated * 256).round() / 256, (real * 256).round() / 256
    far = near[0] + 1000, near[1] + 1000
    for measure in (precision_recall, density_coverage):
        assert means(measure(*far)) == means(measure(*near))


def test_a_model_that_remembers_the_data_scores_full_marks() -> None:
    real = features(100, 8, 0)
    assert means(precision_recall(real, real)) == (1, 1)
    density, coverage = means(density_coverage(real, real))
    assert coverage == 1
    # In each real image's ball there are itself and its k neighbours, the last at its very edge but for rounding.
    assert density == pytest.approx(6 / 5, rel=0.01)


def test_a_model_of_one_image_is_precise_and_covers_little() -> None:
    real = features(200, 4, 0)
    collapsed = real[:1].repeat(200, 1)
    precision, recall = means(precision_recall(collapsed, real))
    assert precision == 1
    assert recall <= 1 / 200
    density, coverage = means(density_coverage(collapsed, real))
    assert 0 < coverage < 0.1
    assert density > 0


def test_far_away_images_are_in_nobodys_neighbourhood() -> None:
    generated, real = features(50, 4, 0, 100.0), features(50, 4, 1)
    assert means(precision_recall(generated, real)) == (0, 0)
    assert means(density_coverage(generated, real)) == (0, 0)


@pytest.mark.parametrize("measure", [precision_recall, density_coverage])
def test_no_more_images_than_neighbours_are_too_few(measure) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(NotApplicable, match="4 nearest neighbours need at least 5 images, there are 4 real"):
        measure(features(9, 2, 0), features(4, 2, 1), 4)
    with pytest.raises(NotApplicable, match="there are 4 generated"):
        measure(features(4, 2, 0), features(9, 2, 1), 4)


@pytest.mark.parametrize("measure", [precision_recall, density_coverage])
def test_features_that_are_not_finite_are_refused(measure) -> None:  # type: ignore[no-untyped-def]
    spoiled = features(9, 2, 0)
    spoiled[3, 1] = torch.inf
    with pytest.raises(GenbenchError, match="not finite"):
        measure(spoiled, features(9, 2, 1))
