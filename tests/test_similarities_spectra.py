"""Similarities of spectra: the papers' formulas by numpy and scipy, and what is just visible."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.fft import dctn, idctn
from textures import textures
from torch import Tensor

import genbench_similarities
from genbench.errors import GenbenchError, NotApplicable
from genbench.interfaces import Similarity, View
from genbench.plugins import Plugins
from genbench.resolution import build_settings
from genbench.testing.interface import find_check
from genbench.testing.similarities import SimilaritySubject
from genbench_similarities.elementwise import Mse
from genbench_similarities.fourier import Fourier
from genbench_similarities.settings import ElementwiseSettings, FourierSettings, WatsonSettings
from genbench_similarities.watson import FAINT, FILES, SENSITIVITY, Watson

Array = np.ndarray[tuple[int, ...], np.dtype[np.float64]]

DCT = Watson(WatsonSettings())


# -- fourier


@pytest.mark.parametrize("alpha", [0.0, 1.0, 2.0])
def test_focal_frequency_loss_is_the_papers(alpha: float) -> None:
    real, fake = textures(2), textures(2, seed=1)
    spectrum = np.abs(np.fft.fft2((real - fake).numpy(), norm="ortho"))
    weights = spectrum**alpha
    weights /= weights.max((2, 3), keepdims=True)
    expected = 0.5 * (weights * spectrum**2).sum((1, 2, 3))
    value = Fourier(FourierSettings(alpha=alpha))(View(real), View(fake))
    np.testing.assert_allclose(value.numpy(), expected, rtol=1e-10)


def test_without_weights_it_is_mse() -> None:
    """Parseval's theorem."""
    views = View(textures()), View(textures(seed=1))
    flat = Fourier(FourierSettings(alpha=0.0))
    torch.testing.assert_close(flat(*views), Mse(ElementwiseSettings())(*views))
    assert not flat.surrogate


def test_its_gradient_holds_the_weights_fixed() -> None:
    real, fake = textures(1), textures(1, seed=1).requires_grad_()
    (gradient,) = torch.autograd.grad(Fourier(FourierSettings())(View(real), View(fake)).sum(), fake)
    spectrum = np.fft.fft2((fake - real).detach().numpy(), norm="ortho")
    weights = np.abs(spectrum) / np.abs(spectrum).max((2, 3), keepdims=True)
    expected = np.fft.ifft2(weights * spectrum, norm="ortho").real  # of ½ Σ w|F(x̃) - F(x)|² at fixed w
    np.testing.assert_allclose(gradient.numpy(), expected, atol=1e-12)
    assert "held fixed" in Fourier(FourierSettings()).surrogate


def test_the_conformance_kit_is_told_so() -> None:
    subject = SimilaritySubject(Plugins.of(genbench_similarities), "fourier")
    with pytest.raises(NotApplicable, match=r"its gradient is not that of its value, it says: .* held fixed"):
        find_check("similarity", "finite differences")(subject)


def test_what_differs_most_in_frequency_counts_most() -> None:
    real = torch.zeros(1, 1, 16, 16, dtype=torch.float64)
    wave = torch.cos(2 * torch.pi / 16 * 3 * torch.arange(16, dtype=torch.float64)).expand(1, 1, 16, 16)
    noise = torch.randn(1, 1, 16, 16, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    noise *= wave.norm() / noise.norm()
    focal = Fourier(FourierSettings())
    assert focal(View(real), View(wave)).item() == pytest.approx(0.5 * wave.square().sum().item())
    assert focal(View(real), View(noise)).item() < 0.8 * focal(View(real), View(wave)).item()


# -- watson, in the cosine transform


def blocks(image: Tensor) -> Array:
    """Cut one channel (H, W) in [-1, 1] into blocks (K, 8, 8) in [0, 1]."""
    height, width = image.shape
    return ((image.numpy() + 1) / 2).reshape(height // 8, 8, width // 8, 8).swapaxes(1, 2).reshape(-1, 8, 8)


def test_watsons_distance_is_his_formula() -> None:
    real, fake = textures(1, 1, 24)[0, 0], textures(1, 1, 24, seed=1)[0, 0]
    truth, found = (255 * dctn(blocks(x), axes=(1, 2), norm="ortho") for x in (real, fake))
    total = 0.0
    for block, other in zip(truth, found, strict=True):
        for i in range(8):
            for j in range(8):
                threshold = SENSITIVITY[i][j] * (block[0, 0] / truth[:, 0, 0].mean()) ** 0.649
                if i or j:
                    threshold = max(threshold, abs(block[i, j]) ** 0.7 * threshold**0.3)
                total += abs((block[i, j] - other[i, j]) / threshold) ** 4
    value = DCT(View(real[None, None]), View(fake[None, None]))
    assert value.item() == pytest.approx(total**0.25, rel=1e-6)


@pytest.mark.parametrize("place", [(0, 0), (0, 3), (7, 7)])
def test_on_a_flat_image_the_table_is_what_is_just_visible(place: tuple[int, int]) -> None:
    real = torch.zeros(1, 1, 16, 16, dtype=torch.float64)
    coefficients = np.zeros((8, 8))
    coefficients[place] = SENSITIVITY[place[0]][place[1]] / 255
    fake = real.clone()
    fake[0, 0, 8:, :8] += 2 * torch.from_numpy(idctn(coefficients, norm="ortho"))
    assert DCT(View(real), View(fake)).item() == pytest.approx(1, rel=1e-5)


def test_what_is_dark_or_busy_hides_more_or_less() -> None:
    generator = torch.Generator().manual_seed(0)
    change = 0.02 * torch.randn(1, 1, 8, 8, generator=generator, dtype=torch.float64)
    real = torch.full((1, 1, 8, 24), 0.0, dtype=torch.float64)
    real[..., :8] = -0.9  # dark
    real[..., 16::2] = 0.5  # busy
    real[..., 17::2] = -0.5

    def seen(column: int) -> float:
        fake = real.clone()
        fake[..., column : column + 8] += change
        return DCT(View(real), View(fake)).item()  # type: ignore[no-any-return]

    dark, middle, busy = map(seen, (0, 8, 16))
    assert dark > 2 * middle
    assert busy < middle


def test_of_colours_each_channel_is_a_third() -> None:
    real, fake = textures(2, 1), textures(2, 1, seed=1)
    grey = DCT(View(real), View(fake))
    colour = DCT(*(View(images.expand(-1, 3, -1, -1)) for images in (real, fake)))
    torch.testing.assert_close(colour, grey / 3, rtol=1e-5, atol=1e-2)  # those of colours are not quite 0
    tinted = real.repeat(1, 3, 1, 1)
    tinted[:, 2] += 0.1
    assert bool((DCT(View(real.expand(-1, 3, -1, -1)), View(tinted)) > 0.1).all())


def test_a_side_that_is_no_multiple_of_eight_is_continued_by_reflection() -> None:
    real, fake = textures(1, side=21), textures(1, side=21, seed=1)
    continued = [np.pad(images.numpy(), ((0, 0), (0, 0), (0, 3), (0, 3)), mode="reflect") for images in (real, fake)]
    expected = DCT(*(View(torch.from_numpy(images)) for images in continued))
    torch.testing.assert_close(DCT(View(real), View(fake)), expected)


def test_black_images_and_equal_ones_have_finite_values_and_gradients() -> None:
    black = torch.full((1, 3, 16, 16), -1.0)
    for real, fake in ((black, textures(1, side=16).float()), (black, black), (textures(1, side=16).float(), black)):
        leaf = fake.clone().requires_grad_()
        value = DCT(View(real), View(leaf))
        (gradient,) = torch.autograd.grad(value.sum(), leaf)
        assert bool(value.isfinite().all())
        assert bool(gradient.isfinite().all())


# -- watson, in the Fourier transform, with constants as they might have been fitted


def constants(seed: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {
        "blocksize": torch.tensor(8),
        "t_tild": torch.randn(8, 5, generator=generator),
        "alpha": torch.tensor(0.1 + 0.05 * seed),
        "w_tild": torch.tensor(-1.0 + 0.1 * seed),
        "beta": torch.tensor(1.0 + 0.2 * seed),
        "w_phase_tild": torch.randn(8, 5, generator=generator) - 2,
    }


def colour_constants() -> dict[str, Tensor]:
    parts = {f"{p}.{name}": v for i, p in enumerate(("ly", "lcb", "lcr")) for name, v in constants(i + 1).items()}
    other = {"to_YCbCr.transform": torch.zeros(3, 3), "to_YCbCr.bias": torch.zeros(3)}
    return {**other, **parts, "w_tild": torch.tensor([1.0, 0.0, -1.0])}


def czolbe(real: Array, fake: Array, given: Mapping[str, Tensor]) -> float:
    """Return the distance of two images' blocks (K, 8, 8) in [0, 1] by the authors' formulas."""
    c = {name: tensor.double().numpy() for name, tensor in given.items()}
    truth, found = (np.fft.rfft2(x) / 64 for x in (real, fake))
    amplitude = np.abs(truth)
    brightness = amplitude[:, :1, :1] / amplitude[:, 0, 0].mean()
    masked = np.exp(c["t_tild"]) * brightness ** c["alpha"]
    exponent = 1 / (1 + np.exp(-c["w_tild"]))
    busy = amplitude**exponent * masked ** (1 - exponent)
    share = 1 / (1 + np.exp(busy - masked))
    visible = share * masked + (1 - share) * busy
    errors = np.abs(amplitude - np.abs(found)) / visible
    weights = np.exp(c["w_phase_tild"])
    weights[np.ix_([0, 4], [0, 4])] = 0
    angles = np.arccos(np.clip(np.cos(np.angle(truth) - np.angle(found)), -1, 1))
    return float((errors ** c["beta"]).sum() ** (1 / c["beta"]) + (weights * angles).sum())


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with files of made-up constants that GENBENCH_WEIGHTS names."""
    torch.save(constants(0), tmp_path / FILES[1])
    torch.save(colour_constants(), tmp_path / FILES[3])
    monkeypatch.setenv("GENBENCH_WEIGHTS", str(tmp_path))
    return tmp_path


def fft(path: Path | str = "") -> Watson:
    return Watson(WatsonSettings(transform="fft", weights=str(path)))


def test_the_distance_in_the_fourier_domain_is_the_papers(weights: Path) -> None:
    real, fake = textures(1, 1, 24)[0, 0], textures(1, 1, 24, seed=1)[0, 0]
    expected = czolbe(blocks(real), blocks(fake), constants(0))
    assert fft()(View(real[None, None]), View(fake[None, None])).item() == pytest.approx(expected, rel=1e-5)


def test_that_of_colours_weighs_brightness_and_two_differences(weights: Path) -> None:
    real, fake = textures(1), textures(1, seed=1)
    jpeg = torch.tensor([[0.299, 0.587, 0.114], [-0.1687, -0.3313, 0.5], [0.5, -0.4187, -0.0813]]).double()
    expected = 0.0
    for channel, share in enumerate(torch.tensor([1.0, 0.0, -1.0]).softmax(0).tolist()):
        pair = [torch.einsum("c,chw->hw", jpeg[channel], images[0]) for images in (real, fake)]
        # In [0, 1], both differences lie around one half; `blocks` takes what lies in [-1, 1].
        expected += share * czolbe(blocks(pair[0]), blocks(pair[1]), constants(channel + 1))
    assert fft()(View(real), View(fake)).item() == pytest.approx(expected, rel=1e-5)


def test_one_file_may_be_named_and_its_hash_is_a_fact(weights: Path) -> None:
    grey, both = fft(weights / FILES[1]), fft()
    assert set(both.facts) == {"constants_1", "constants_3"}
    assert grey.facts == {"constants_1": both.facts["constants_1"]}
    images = View(textures())
    with pytest.raises(NotApplicable, match="not for images with 3 channels"):
        grey(images, images)


def test_without_files_it_says_where_they_are_and_what_needs_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GENBENCH_WEIGHTS", str(tmp_path))
    with pytest.raises(NotApplicable, match="constants of `fft` are not here") as refused:
        fft()
    assert FILES[3] in str(refused.value.hint)
    assert "`transform=dct` needs none" in str(refused.value.hint)


def test_phases_of_faint_waves_do_not_outshout_the_rest(weights: Path) -> None:
    """The slope of a phase is the inverse of its amplitude; where waves are not faint, it is what it is."""
    similarity = fft()
    generator = torch.Generator().manual_seed(0)
    real, other = (torch.rand(1, 1, 8, 8, generator=generator, dtype=torch.float64) * 2 - 1 for _ in range(2))
    assert torch.fft.rfft2((other + 1) / 2).abs().min() / 64 > FAINT
    leaf = other.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: similarity(View(real), View(x)), (leaf,), eps=1e-6, atol=1e-4)
    usual = slope(similarity, real, other)
    for size in (0.0, 1e-9, 1e-6, 1e-3):
        flat = size * torch.randn(1, 1, 8, 8, generator=generator, dtype=torch.float64)
        assert slope(similarity, real, flat) < 100 * usual
        assert slope(similarity, real.float(), flat.float()) < 100 * usual


def slope(similarity: Similarity, real: Tensor, fake: Tensor) -> float:
    leaf = fake.detach().clone().requires_grad_()
    return float(torch.autograd.grad(similarity(View(real), View(leaf)).sum(), leaf)[0].norm())


def test_files_that_hold_something_else_are_refused(tmp_path: Path) -> None:
    cases = {"missing": {"t_tild": torch.zeros(8, 5)}, "shape": constants(0) | {"t_tild": torch.zeros(8, 8)}}
    for name, tensors in cases.items():
        path = tmp_path / f"{name}.pth"
        torch.save(tensors, path)
        with pytest.raises(GenbenchError, match=r"not constants of watson"):
            fft(path)


def test_weights_for_the_cosine_transform_are_refused() -> None:
    plugins = Plugins.of(genbench_similarities)
    with pytest.raises(GenbenchError, match="`weights` are for `transform` fft"):
        build_settings(plugins, plugins.similarity("watson"), {"weights": "file.pth"})


# -- all of them


@pytest.fixture(params=["fourier", "dct", "fft"])
def similarity(request: pytest.FixtureRequest, weights: Path) -> Similarity:
    return {"fourier": Fourier(FourierSettings()), "dct": DCT, "fft": fft()}[request.param]


def test_it_is_least_for_equal_images_and_one_number_for_each(similarity: Similarity) -> None:
    real, fakes = textures(), textures(seed=1)
    same, together = similarity(View(real), View(real)), similarity(View(real), View(fakes))
    assert same.shape == together.shape == (3,)
    assert bool((same < 0.01 * together).all())
    alone = torch.cat([similarity(View(r[None]), View(f[None])) for r, f in zip(real, fakes, strict=True)])
    torch.testing.assert_close(together, alone)


def test_its_gradient_is_that_of_finite_differences_and_finite_at_itself(similarity: Similarity) -> None:
    real, fake = textures(1, side=16), textures(1, side=16, seed=1).requires_grad_()
    if not similarity.surrogate:
        assert torch.autograd.gradcheck(
            lambda x: similarity(View(real), View(x)), (fake,), eps=1e-6, atol=1e-4, fast_mode=True
        )
    same = real.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(similarity(View(real), View(same)).sum(), same)
    assert bool(gradient.isfinite().all())


def test_it_is_no_part_of_the_models_state(similarity: Similarity) -> None:
    assert not list(similarity.parameters())
    assert not similarity.state_dict()
