"""Similarities of structure and of features: reference libraries, closed forms, finite differences."""

from pathlib import Path

import pytest
import torch
from torchmetrics.functional.image import structural_similarity_index_measure

from genbench.interfaces import Similarity, View
from genbench_similarities.perceptual import LAYERS, Perceptual
from genbench_similarities.settings import PerceptualSettings
from genbench_similarities.structural import Laplacian, Ssim, pyramid, ssim


def images(count: int = 3, channels: int = 3, side: int = 32, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, channels, side // 4, side // 4, generator=generator, dtype=torch.float64)
    fine = 0.1 * torch.randn(count, channels, side, side, generator=generator, dtype=torch.float64)
    return (2 * torch.nn.functional.interpolate(coarse, size=side, mode="bilinear") - 1 + fine).clamp(-1, 1)


@pytest.mark.parametrize("side", [11, 16, 32])
def test_ssim_is_that_of_torchmetrics_inside_the_image(side: int) -> None:
    first, second = ((images(side=max(side, 12), seed=seed)[..., :side, :side] + 1) / 2 for seed in (0, 1))
    _, whole = structural_similarity_index_measure(
        first, second, sigma=1.5, kernel_size=11, reduction="none", data_range=1.0, return_full_image=True
    )
    inside = whole[..., 5 : side - 5, 5 : side - 5].flatten(1).mean(1)
    torch.testing.assert_close(ssim(first, second), inside, rtol=0, atol=1e-6)


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


@pytest.mark.parametrize("similarity", [Ssim(), Laplacian()], ids=["ssim", "laplacian"])
def test_it_is_least_for_equal_images_and_one_number_for_each(similarity: Similarity) -> None:
    real = images()
    same = similarity(View(real), View(real))
    assert same.shape == (3,)
    torch.testing.assert_close(same, torch.zeros(3, dtype=torch.float64), rtol=0, atol=1e-8)
    fakes = images(seed=1)
    together = similarity(View(real), View(fakes))
    assert (together > 1).all()
    alone = torch.cat([similarity(View(r[None]), View(f[None])) for r, f in zip(real, fakes, strict=True)])
    torch.testing.assert_close(together, alone)


@pytest.mark.parametrize("similarity", [Ssim(), Laplacian()], ids=["ssim", "laplacian"])
def test_its_gradient_is_that_of_finite_differences(similarity: Similarity) -> None:
    real, fake = View(images(1, 1, 16)), images(1, 1, 16, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: similarity(real, View(x)), (fake,), eps=1e-6, atol=1e-4)


def test_laplacian_weighs_a_level_by_its_pixels_area() -> None:
    real = torch.zeros(1, 1, 4, 4, dtype=torch.float64)  # one level, which is the image
    assert Laplacian()(View(real), View(real + 0.25)).tolist() == [pytest.approx(16 * 0.25)]


@pytest.fixture
def perceptual(shared: Path, monkeypatch: pytest.MonkeyPatch) -> Perceptual:
    monkeypatch.setenv("GENBENCH_WEIGHTS", str(shared / "weights"))
    return Perceptual(PerceptualSettings())


def test_perceptual_is_what_torchvisions_network_says(perceptual: Perceptual, shared: Path) -> None:
    from safetensors.torch import load_file
    from torchvision.models import squeezenet1_0

    network = squeezenet1_0()
    network.load_state_dict(load_file(shared / "weights" / "squeezenet1_0.safetensors"))
    network.eval()
    real, fake = images().float(), images(seed=1).float()
    seen: list[list[torch.Tensor]] = [[], []]
    for side, batch in enumerate((real, fake)):
        value = ((batch + 1) / 2 - torch.tensor([0.485, 0.456, 0.406])[:, None, None]) / torch.tensor(
            [0.229, 0.224, 0.225]
        )[:, None, None]
        for place, layer in enumerate(network.features):
            value = layer(value).clone()
            if place in LAYERS["squeezenet1_0"]:
                seen[side].append(torch.nn.functional.normalize(value.detach(), dim=1))
    expected = sum((a - b).square().sum(1).mean((1, 2)) for a, b in zip(*seen, strict=True))
    torch.testing.assert_close(perceptual(View(real), View(fake)), expected, rtol=1e-4, atol=1e-5)


def test_the_perceptual_network_is_no_part_of_the_model(perceptual: Perceptual) -> None:
    assert not list(perceptual.parameters())
    assert not perceptual.state_dict()
    assert perceptual.facts["network"] == "squeezenet1_0"
    fake = images(seed=1).float().requires_grad_()
    perceptual(View(images().float()), View(fake)).sum().backward()
    assert fake.grad is not None
    assert fake.grad.abs().sum() > 0
    grey = View(images(channels=1).float())
    assert perceptual(grey, grey).tolist() == [0, 0, 0]
