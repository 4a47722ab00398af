"""MSE, PSNR, SSIM and MS-SSIM: against closed forms, scipy and torchmetrics' own classes."""

from collections.abc import Iterator
from math import log10, prod, sqrt
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import reconstructed
import torch
import torch.nn.functional as F
from contexts import Generator, building
from scipy.ndimage import gaussian_filter
from torch import Tensor
from torchmetrics.image import (
    MultiScaleStructuralSimilarityIndexMeasure,
    PeakSignalNoiseRatio,
    StructuralSimilarityIndexMeasure,
)

import genbench_evaluators
from genbench.config import EvaluatorConfig
from genbench.errors import NotApplicable
from genbench.evaluate.evaluation import evaluate
from genbench.interfaces import Evaluator
from genbench.plugins import Plugins
from genbench.records import Score
from genbench_evaluators.reconstruction import (
    SCALE_WEIGHTS,
    MultiScaleSimilarity,
    ReconstructionError,
    SignalToNoise,
    StructuralSimilarity,
    scale_weights,
)

ALL = (ReconstructionError, SignalToNoise, StructuralSimilarity, MultiScaleSimilarity)
HIGHEST = 10 * log10(12 * 255**2)
C1, C2 = 0.01**2, 0.03**2


class Reconstructions(reconstructed.Reconstructions):
    """The same of images in [0, 1]."""

    def reconstructions(self, split: str) -> Iterator[tuple[Tensor, Tensor]]:
        return ((2 * real - 1, 2 * fake - 1) for real, fake in super().reconstructions(split))


def photographs(count: int, side: int, channels: int = 3) -> Reconstructions:
    """Return smooth images and blurred, noisy reconstructions of them, each worse than the one before."""
    generator = torch.Generator().manual_seed(0)
    real = torch.rand(count, channels, side // 4 + 1, side // 4 + 1, generator=generator)
    real = F.interpolate(real, (side, side), mode="bilinear")
    noise = torch.randn(real.shape, generator=generator) * torch.linspace(0.01, 0.2, count).view(-1, 1, 1, 1)
    return Reconstructions(real, (F.avg_pool2d(real, 3, 1, 1) + noise).clamp(0, 1))


def only(evaluator: Evaluator, context: Reconstructions) -> Score:
    (score,) = evaluator.evaluate(context)  # type: ignore[arg-type]
    assert isinstance(score, Score)
    return score


def offset(*errors: float) -> Reconstructions:
    """Return grey images, each with a reconstruction that is so much brighter."""
    real = torch.full((len(errors), 1, 16, 16), 0.25)
    return Reconstructions(real, real + torch.tensor(errors).view(-1, 1, 1, 1))


# -- all of them


@pytest.mark.parametrize("evaluator", ALL)
def test_neither_batch_size_nor_order_moves_a_score(evaluator: type[Evaluator]) -> None:
    images = photographs(12, 24)
    first = only(evaluator(), images)
    assert first.uncertainty is not None
    assert first.uncertainty > 0
    order = torch.randperm(12, generator=torch.Generator().manual_seed(1))
    for batch_size, shuffled in ((12, slice(None)), (1, slice(None)), (5, order)):
        other = only(evaluator(), Reconstructions(images.real[shuffled], images.fake[shuffled], batch_size))
        assert other.protocol == first.protocol
        assert other.value == pytest.approx(first.value, rel=1e-6)
        assert other.uncertainty == pytest.approx(first.uncertainty, rel=1e-5)


@pytest.mark.parametrize("evaluator", ALL)
def test_the_uncertainty_is_the_means_standard_error(evaluator: type[Evaluator]) -> None:
    images = photographs(6, 24)
    singles = [
        only(evaluator(), Reconstructions(r[None], f[None])) for r, f in zip(images.real, images.fake, strict=True)
    ]
    assert all(single.uncertainty is None for single in singles)
    values = [single.value for single in singles]
    found = only(evaluator(), images)
    assert found.value == pytest.approx(np.mean(values), rel=1e-6)
    assert found.uncertainty == pytest.approx(np.std(values, ddof=1) / sqrt(6), rel=1e-5)
    assert found.protocol["images"] == 6
    assert found.protocol["split"] == "test"
    assert found.protocol["latents"] == "posterior mean"


def test_they_run_in_a_context_and_say_what_does_not_apply(tmp_path: Path) -> None:
    names = ("mse", "psnr", "ssim", "ms-ssim")
    components = tuple(EvaluatorConfig(name=name) for name in names)
    build = building(tmp_path)
    found = evaluate(build(), Plugins.of(genbench_evaluators), components, lambda line: None)
    assert found is not None
    assert not found.failures
    assert {"mse", "psnr"} <= {score.name for score in found.scores}
    reasons = {unscored.evaluator: unscored.reason for unscored in found.skipped}
    assert set(reasons) == {"ssim", "ms-ssim"}
    assert "these are 4 px" in reasons["ssim"]
    without = evaluate(build(Generator()), Plugins.of(genbench_evaluators), components[:2], lambda line: None)
    assert without is not None
    assert {unscored.reason for unscored in without.skipped if unscored.evaluator in names} == {"no encoder"}


# -- psnr


def test_psnr_of_known_errors() -> None:
    found = only(SignalToNoise(), offset(0.1, 0.01))
    assert found.value == pytest.approx((20 + 40) / 2, abs=1e-4)
    assert found.uncertainty == pytest.approx(10, abs=1e-4)
    assert found.direction == "higher"
    assert not found.warnings


def test_psnr_is_not_that_of_the_mean_error_which_stands_beside_it() -> None:
    errors = [only(ReconstructionError(), offset(0.1, 0.01)).value]
    assert errors == pytest.approx([(0.01 + 0.0001) / 2])
    details = only(SignalToNoise(), offset(0.1, 0.01)).details
    assert details == {"of-mean-mse": pytest.approx(-10 * log10(errors[0]), abs=1e-4)}


@pytest.mark.parametrize("errors", [(0.1, 0.01), (0.0, 0.0015), (0.0, 0.0)])
def test_psnr_of_the_mean_error_is_never_larger(errors: tuple[float, ...]) -> None:
    found = only(SignalToNoise(), offset(*errors))
    assert found.details["of-mean-mse"] <= found.value + 1e-9


def test_psnr_is_torchmetrics() -> None:
    images = photographs(12, 24)
    theirs = PeakSignalNoiseRatio(data_range=1.0, dim=(1, 2, 3))
    assert only(SignalToNoise(), images).value == pytest.approx(theirs(images.fake, images.real).item(), rel=1e-6)


def test_a_perfect_image_has_the_ratio_of_its_own_rounding() -> None:
    found = only(SignalToNoise(), offset(0.0, 0.0, 0.1))
    assert found.value == pytest.approx((2 * HIGHEST + 20) / 3, abs=1e-4)
    assert "58.92" in str(found.protocol["limit"])
    (warning,) = found.warnings
    assert warning.startswith("2 of 3 images")


def test_no_image_can_beat_a_perfect_one() -> None:
    assert only(SignalToNoise(), offset(1e-4)).value == only(SignalToNoise(), offset(0.0)).value


def test_a_smaller_error_is_a_higher_ratio() -> None:
    values = [only(SignalToNoise(), offset(error)).value for error in (0.3, 0.1, 0.03, 0.01, 0.003)]
    assert values == sorted(values)
    assert len(set(values)) == 5


# -- ssim


def scipy_parts(real: Tensor, fake: Tensor) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return SSIM and contrast times structure, (N,), as Wang et al. write them, where windows lie inside."""

    def smooth(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        # An 11 × 11 window: a radius of 5 is int(3.5 · 1.5 + 0.5).
        smoothed: npt.NDArray[np.float64] = gaussian_filter(values, (0, 0, 1.5, 1.5), truncate=3.5)
        return smoothed[..., 5:-5, 5:-5]

    x, y = real.double().numpy(), fake.double().numpy()
    mx, my = smooth(x), smooth(y)
    vx, vy, vxy = smooth(x * x) - mx**2, smooth(y * y) - my**2, smooth(x * y) - mx * my
    contrast_structure = (2 * vxy + C2) / (vx + vy + C2)
    luminance = (2 * mx * my + C1) / (mx**2 + my**2 + C1)
    return (luminance * contrast_structure).mean((1, 2, 3)), contrast_structure.mean((1, 2, 3))


@pytest.mark.parametrize(("side", "channels"), [(11, 1), (12, 3), (28, 1), (64, 3)])
def test_ssim_is_the_papers(side: int, channels: int) -> None:
    images = photographs(6, side, channels)
    expected, _ = scipy_parts(images.real, images.fake)
    assert only(StructuralSimilarity(), images).value == pytest.approx(expected.mean(), abs=2e-6)


def test_ssim_is_torchmetrics_but_for_the_borders_and_theirs_stands_beside_it() -> None:
    images = photographs(12, 32)
    theirs = StructuralSimilarityIndexMeasure(data_range=1.0, reduction="none", return_full_image=True)
    whole, pixels = theirs(images.fake, images.real)
    found = only(StructuralSimilarity(), images)
    assert found.value == pytest.approx(pixels[..., 5:-5, 5:-5].mean().item(), rel=1e-6)
    assert found.details == {"with-reflected-borders": pytest.approx(whole.mean().item(), rel=1e-6)}
    assert found.direction == "higher"


def test_ssim_of_constants_is_their_luminances() -> None:
    a, b = 0.25, 0.6
    expected = (2 * a * b + C1) / (a**2 + b**2 + C1)
    assert only(StructuralSimilarity(), offset(b - a)).value == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("evaluator", [StructuralSimilarity, MultiScaleSimilarity])
def test_an_image_is_most_similar_to_itself(evaluator: type[Evaluator]) -> None:
    real = photographs(4, 24).real
    assert only(evaluator(), Reconstructions(real, real)).value == pytest.approx(1, abs=1e-6)


def test_images_smaller_than_the_window_have_no_ssim() -> None:
    with pytest.raises(NotApplicable, match=r"at least 11 px.*these are 10 px"):
        only(StructuralSimilarity(), photographs(2, 10))


# -- ms-ssim


@pytest.mark.parametrize(
    ("side", "scales"), [(22, 2), (28, 2), (32, 2), (43, 2), (44, 3), (64, 3), (88, 4), (128, 4), (175, 4), (176, 5)]
)
def test_there_are_as_many_scales_as_windows_fit(side: int, scales: int) -> None:
    weights = scale_weights(side)
    assert len(weights) == scales
    assert sum(weights) == pytest.approx(1, abs=2e-4)
    ratios = [ours / published for ours, published in zip(weights, SCALE_WEIGHTS, strict=False)]
    assert ratios == pytest.approx([ratios[0]] * scales)


def test_all_published_weights_are_used_as_they_stand() -> None:
    assert scale_weights(256) == (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)


def test_images_with_room_for_one_scale_have_no_ms_ssim() -> None:
    with pytest.raises(NotApplicable, match="at least 22 px, these are 21 px"):
        only(MultiScaleSimilarity(), photographs(2, 21))


@pytest.mark.parametrize(("side", "scales"), [(22, 2), (32, 2), (45, 3), (176, 5)])
def test_ms_ssim_is_the_papers(side: int, scales: int) -> None:
    images = photographs(4, side)
    real, fake, factors = images.real, images.fake, []
    for _ in range(scales - 1):
        factors.append(scipy_parts(real, fake)[1])
        real, fake = (halved(x) for x in (real, fake))
    factors.append(scipy_parts(real, fake)[0])
    expected = prod(f**w for f, w in zip(factors, scale_weights(side), strict=True))
    assert only(MultiScaleSimilarity(), images).value == pytest.approx(np.mean(expected), abs=2e-6)


def halved(images: Tensor) -> Tensor:
    even = images[..., : images.shape[-2] // 2 * 2, : images.shape[-1] // 2 * 2]
    return (even[..., ::2, ::2] + even[..., 1::2, ::2] + even[..., ::2, 1::2] + even[..., 1::2, 1::2]) / 4


def test_ms_ssim_is_torchmetrics_but_for_the_coarsest_scales_borders() -> None:
    images = photographs(1, 64)
    weights = scale_weights(64)
    theirs = MultiScaleStructuralSimilarityIndexMeasure(data_range=1.0, betas=weights)(images.fake, images.real)
    coarse = [halved(halved(x)) for x in (images.fake, images.real)]
    whole, pixels = StructuralSimilarityIndexMeasure(data_range=1.0, return_full_image=True)(*coarse)
    expected = theirs * (pixels[..., 5:-5, 5:-5].mean() / whole) ** weights[-1]
    assert only(MultiScaleSimilarity(), images).value == pytest.approx(expected.item(), rel=1e-5)


def test_fewer_scales_are_said_in_protocol_and_warning() -> None:
    small, large = (only(MultiScaleSimilarity(), photographs(2, side)) for side in (64, 176))
    assert (small.protocol["scales"], large.protocol["scales"]) == (3, 5)
    assert small.warnings[0].startswith("with 3 of 5 scales")
    assert "does not compare with published values" in small.warnings[0]
    assert large.warnings == ()


def test_a_negative_has_no_ms_ssim_below_zero() -> None:
    real = photographs(3, 32).real
    assert only(MultiScaleSimilarity(), Reconstructions(real, 1 - real)).value == 0
    assert only(StructuralSimilarity(), Reconstructions(real, 1 - real)).value < 0
