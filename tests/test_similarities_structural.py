"""Similarities of structure: reference libraries, closed forms, finite differences."""

import pytest
import torch
from textures import textures
from torch import Tensor
from torchmetrics.functional.image import structural_similarity_index_measure

from genbench.interfaces import Similarity, View
from genbench_evaluators import reconstruction
from genbench_similarities.settings import GradientSettings
from genbench_similarities.structural import Gradient, LaplacianPyramid, MsSsim, Ssim, multiscale_ssim, pyramid, ssim

ALL: dict[str, Similarity] = {
    "ssim": Ssim(),
    "ms-ssim": MsSsim(),
    "gradient": Gradient(GradientSettings()),
    "gradient squared": Gradient(GradientSettings(exponent=2.0, pixels=0.0)),
    "laplacian-pyramid": LaplacianPyramid(),
}


@pytest.mark.parametrize("side", [11, 16, 32])
def test_ssim_is_that_of_torchmetrics_inside_the_image(side: int) -> None:
    first, second = ((textures(side=max(side, 12), seed=seed)[..., :side, :side] + 1) / 2 for seed in (0, 1))
    _, whole = structural_similarity_index_measure(
        first, second, sigma=1.5, kernel_size=11, reduction="none", data_range=1.0, return_full_image=True
    )
    inside = whole[..., 5 : side - 5, 5 : side - 5].flatten(1).mean(1)
    torch.testing.assert_close(ssim(first, second), inside, rtol=0, atol=1e-6)


# -- ms-ssim


def alike(side: int, channels: int = 3) -> tuple[Tensor, Tensor]:
    """Return pairs in [0, 1] with something in common on every scale, as torchmetrics and piq expect."""
    real, other = ((textures(2, channels, side, seed) + 1) / 2 for seed in (0, 1))
    return real, 0.7 * real + 0.3 * other


@pytest.mark.parametrize(("side", "scales"), [(32, 2), (64, 3), (176, 5)])
def test_ms_ssim_is_piqs_on_as_many_scales_as_fit(side: int, scales: int) -> None:
    piq = pytest.importorskip("piq")
    real, fake = alike(side, channels=1)  # of colours, piq takes the mean after the product
    weights = torch.tensor([0.0448, 0.2856, 0.3001, 0.2363, 0.1333][:scales], dtype=torch.float64)
    expected = piq.multi_scale_ssim(real, fake, data_range=1.0, reduction="none", scale_weights=weights)
    # piq makes five exponents sum to 1, too, which as published they do but for 1e-4.
    torch.testing.assert_close(multiscale_ssim(real, fake), expected, rtol=1e-4, atol=0)


@pytest.mark.parametrize("side", [32, 64, 88])
def test_ms_ssim_of_colours_is_made_of_torchmetrics_parts(side: int) -> None:
    real, fake = alike(side)
    expected = reconstruction.multiscale_ssim(real, fake, reconstruction.scale_weights(side))
    torch.testing.assert_close(multiscale_ssim(real, fake), expected, rtol=1e-5, atol=0, check_dtype=False)


@pytest.mark.parametrize(
    ("side", "exponent"),
    [(161, 0.1333), (160, 0.2363 / 0.8668), (41, 0.3001 / 0.6305), (40, 0.2856 / 0.3304), (21, 0.2856 / 0.3304)],
)
def test_the_number_of_scales_falls_with_the_size(side: int, exponent: float) -> None:
    """Flat images differ in brightness alone, which only the coarsest scale sees."""
    first, second = (torch.full((1, 3, side, side), level, dtype=torch.float64) for level in (0.3, 0.6))
    brightness = (2 * 0.3 * 0.6 + 1e-4) / (0.3**2 + 0.6**2 + 1e-4)
    assert multiscale_ssim(first, second).item() == pytest.approx(brightness**exponent, rel=1e-9)


def test_ms_ssim_says_how_many_scales_it_has_at_which_size() -> None:
    assert MsSsim().facts["scales"] == (
        "2 from 21 px, 3 from 41 px, 4 from 81 px, 5 from 161 px; exponents renormalised where fewer than 5"
    )


def test_where_contrast_is_inverted_ms_ssim_is_almost_nothing_and_has_a_gradient() -> None:
    real = textures(2, side=64)
    values, gradients = [], []
    for mixture in (0.0, -0.5, -1.0):
        fake = (mixture * real).requires_grad_()
        value = MsSsim()(View(real), View(fake))
        values.append(value.detach())
        gradients.append(torch.autograd.grad(value.sum(), fake)[0])
    most = real[0].numel() / 2
    assert bool((values[0] < values[1]).all())
    assert bool((values[1] < values[2]).all())
    assert bool(((values[2] > 0.98 * most) & (values[2] <= most)).all())
    for gradient in gradients:
        assert bool(gradient.isfinite().all())
        assert bool(gradient.flatten(1).any(1).all())


# -- gradient


def test_a_pixel_that_is_off_costs_its_four_edges_and_itself() -> None:
    real = torch.zeros(1, 1, 8, 8, dtype=torch.float64)
    fake = real.clone()
    fake[0, 0, 3, 4] = 0.5
    assert Gradient(GradientSettings())(View(real), View(fake)).item() == pytest.approx(5 * 0.5)
    settings = GradientSettings(exponent=2.0, pixels=3.0)
    assert Gradient(settings)(View(real), View(fake)).item() == pytest.approx((4 + 3) * 0.25)


def test_a_constant_is_seen_by_its_pixels_alone() -> None:
    real = textures(1)
    brighter = View(real + 0.1)
    assert Gradient(GradientSettings(pixels=0.0))(View(real), brighter).item() == pytest.approx(0, abs=1e-9)
    assert Gradient(GradientSettings())(View(real), brighter).item() == pytest.approx(0.1 * real.numel())


def test_an_edge_is_not_its_negative() -> None:
    real = torch.zeros(1, 1, 4, 4, dtype=torch.float64)
    real[..., 2:] = 1
    value = Gradient(GradientSettings(pixels=0.0))(View(real), View(1 - real))
    assert value.item() == pytest.approx(4 * 2)  # four rows, each a step of 1 against one of -1


# -- laplacian-pyramid


def test_the_levels_of_a_pyramid_add_up_to_the_image_and_smooth_images_live_in_the_coarse_ones() -> None:
    constant = torch.full((1, 3, 32, 32), 0.5, dtype=torch.float64)
    *fine, coarsest = pyramid(constant)
    assert [level.shape[-1] for level in (*fine, coarsest)] == [32, 16, 8, 4]
    assert coarsest == pytest.approx(torch.full_like(coarsest, 0.5))
    # Inside the image; zeros between pixels are not reflected as the image is.
    for level in fine[:2]:
        assert level[..., 2:-2, 2:-2].abs().max() < 1e-12
    checkers = torch.ones(32, 32, dtype=torch.float64)
    checkers[::2, 1::2] = checkers[1::2, ::2] = -1
    finest, *others = pyramid(checkers.expand(1, 3, 32, 32))
    assert finest.abs().mean() > 0.9
    assert all(level[..., 1:-1, 1:-1].abs().max() < 0.1 for level in others)


def test_a_level_of_a_pyramid_is_the_image_but_for_its_blurred_half() -> None:
    """Burt & Adelson 1983, equations 1 and 2, by convolutions of a rectangular image."""
    image = textures(2)[..., :16, :]
    line = torch.tensor([1, 4, 6, 4, 1], dtype=torch.float64) / 16
    kernel = (line[:, None] * line).expand(3, 1, 5, 5)

    def blurred(values: Tensor) -> Tensor:
        padded = torch.nn.functional.pad(values, (2, 2, 2, 2), mode="reflect")
        return torch.nn.functional.conv2d(padded, kernel, groups=3)

    half = blurred(image)[..., ::2, ::2]
    spread = torch.zeros_like(image)
    spread[..., ::2, ::2] = half
    finest, second, coarsest = pyramid(image)
    torch.testing.assert_close(finest, image - 4 * blurred(spread))
    torch.testing.assert_close(coarsest, blurred(half)[..., ::2, ::2])
    assert second.shape == half.shape


@pytest.mark.parametrize(("side", "sides"), [(33, [33, 17, 9, 5]), (36, [36, 18, 9, 5]), (45, [45, 23, 12, 6])])
def test_a_pyramid_has_its_levels_whatever_the_side(side: int, sides: list[int]) -> None:
    """A constant has nothing but what the coarsest level holds of it, also at an odd side's borders."""
    levels = pyramid(torch.full((1, 1, side, side), 0.5, dtype=torch.float64))
    assert [level.shape[-1] for level in levels] == sides
    assert all(level.abs().max() < 1e-12 for level in levels[:-1])
    torch.testing.assert_close(levels[-1], torch.full_like(levels[-1], 0.5))


def test_a_level_is_weighed_by_its_pixels_area() -> None:
    real = torch.zeros(1, 1, 4, 4, dtype=torch.float64)  # one level, which is the image
    assert LaplacianPyramid()(View(real), View(real + 0.25)).tolist() == [pytest.approx(16 * 0.25)]


# -- all of them


@pytest.mark.parametrize("name", ALL)
def test_it_is_least_for_equal_images_and_one_number_for_each(name: str) -> None:
    real, fakes = textures(), textures(seed=1)
    same = ALL[name](View(real), View(real))
    torch.testing.assert_close(same, torch.zeros(3, dtype=torch.float64), rtol=0, atol=1e-8)
    together = ALL[name](View(real), View(fakes))
    assert together.shape == (3,)
    assert (together > 1).all()
    alone = torch.cat([ALL[name](View(r[None]), View(f[None])) for r, f in zip(real, fakes, strict=True)])
    torch.testing.assert_close(together, alone)


@pytest.mark.parametrize("name", ALL)
def test_its_gradient_is_that_of_finite_differences(name: str) -> None:
    side = 22 if name == "ms-ssim" else 16
    real = textures(1, 1, side)
    fake = (0.6 * real + 0.4 * textures(1, 1, side, seed=1)).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda x: ALL[name](View(real), View(x)), (fake,), eps=1e-6, atol=1e-4, fast_mode=True
    )
