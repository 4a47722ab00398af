"""Distortions against closed forms and other libraries; what every one of them promises."""

import math
import warnings

import numpy as np
import pytest
import scipy.ndimage
import torch
from torch import Tensor

from genbench.distortions import BY_NAME, DISTORTIONS, Distortion
from genbench.errors import NotApplicable
from genbench.images import to_float, to_uint8

SIDE = 24


def smooth(count: int = 3, channels: int = 3, height: int = SIDE, width: int = SIDE) -> Tensor:
    """Return images of soft blobs that fill about half of the range, in 8-bit steps, float64."""
    drawn = np.random.default_rng(0).standard_normal((count, channels, height, width))
    blurred = scipy.ndimage.gaussian_filter(drawn, (0, 0, 2.5, 2.5))
    return to_float(to_uint8(torch.from_numpy(0.5 * blurred / np.abs(blurred).max()))).double()


def apply(name: str, images: Tensor, strength: float) -> Tensor:
    return BY_NAME[name].apply(images, strength)


def luma(images: Tensor) -> Tensor:
    return 0.299 * images[:, 0] + 0.587 * images[:, 1] + 0.114 * images[:, 2]


@pytest.mark.parametrize("distortion", DISTORTIONS, ids=lambda d: d.name)
def test_all_keep_shape_type_range_and_what_they_are_given(distortion: Distortion) -> None:
    for images in (smooth().float(), smooth(height=20, width=28), smooth(channels=1).float(), 2 * smooth().float()):
        if distortion.name == "colour" and images.shape[1] == 1:
            continue
        before = images.clone()
        for worse in distortion.series(images):
            assert (worse.shape, worse.dtype) == (images.shape, images.dtype)
            assert float(worse.abs().max()) <= 1 + 1e-6
            assert not torch.equal(worse, images)
        assert torch.equal(images, before)


@pytest.mark.parametrize("distortion", DISTORTIONS, ids=lambda d: d.name)
def test_an_image_is_distorted_alike_whatever_is_beside_it_and_whatever_was_drawn(distortion: Distortion) -> None:
    images = smooth()
    strength = distortion.strengths[2]
    together = distortion.apply(images, strength)
    torch.manual_seed(5)
    state = torch.get_rng_state()
    alone = torch.cat([distortion.apply(image[None], strength) for image in images])
    assert torch.equal(torch.get_rng_state(), state)
    torch.testing.assert_close(alone, together, rtol=0, atol=1e-12)


@pytest.mark.parametrize("distortion", DISTORTIONS, ids=lambda d: d.name)
def test_they_are_nothing_at_their_identity_and_grow_from_there(distortion: Distortion) -> None:
    images = smooth()
    same = distortion.apply(images, distortion.identity)
    # JPEG's best is all but the image.
    torch.testing.assert_close(same, images, rtol=0, atol=0.1 if distortion.name == "jpeg" else 1e-12)
    errors = [0.0, *(float((worse - images).square().mean()) for worse in distortion.series(images))]
    assert errors == sorted(errors)
    assert len(set(errors)) == len(errors)


@pytest.mark.parametrize("sigma", [0.5, 0.75, 1, 2, 4])
def test_blur_is_scipys(sigma: float) -> None:
    images = smooth(height=20, width=30)
    radius = math.ceil(3 * sigma)
    expected = scipy.ndimage.gaussian_filter(
        images.numpy(), (0, 0, sigma, sigma), mode="mirror", radius=(0, 0, radius, radius)
    )
    torch.testing.assert_close(apply("blur", images, sigma), torch.from_numpy(expected))


def test_blur_takes_images_smaller_than_its_reach() -> None:
    images = smooth(height=4, width=5)
    blurred = apply("blur", images, 4)
    assert blurred.shape == images.shape
    torch.testing.assert_close(blurred.mean(), images.mean(), rtol=0, atol=0.05)


def test_noise_has_the_deviation_that_it_is_said_to_have() -> None:
    images = smooth()
    first, second = (apply("noise", images, strength) - images for strength in (0.02, 0.05))
    deviations = (first / 2).flatten(1).std(1, correction=0)
    torch.testing.assert_close(deviations, torch.full((3,), 0.02, dtype=torch.float64))
    torch.testing.assert_close(first[0], first[2])
    torch.testing.assert_close(second, 2.5 * first)
    assert abs(float(first[0].mean())) < 1e-12
    far = apply("noise", images, 10.0)
    assert float((far.abs() == 1).double().mean()) > 0.9, "cut off at the ends of the range"


def test_a_shift_moves_to_the_right_and_mirrors_at_the_left() -> None:
    images = smooth()
    moved = apply("shift", images, 3)
    assert torch.equal(moved[..., 3:], images[..., :-3])
    assert torch.equal(moved[..., :3], images[..., 1:4].flip(3))
    back = apply("shift", images, -3)
    assert torch.equal(back[..., :-3], images[..., 3:])


def test_a_shift_by_a_part_of_a_pixel_interpolates() -> None:
    ramp = torch.linspace(-1, 1, SIDE, dtype=torch.float64).expand(1, 1, SIDE, SIDE)
    step = 2 / (SIDE - 1)
    for pixels in (0.25, 0.5, 2.75):
        moved = apply("shift", ramp, pixels)
        inside = math.ceil(pixels)
        torch.testing.assert_close(moved[..., inside:], (ramp - pixels * step)[..., inside:])


def test_no_shift_is_wider_than_the_image() -> None:
    narrow = smooth(height=8, width=4)
    assert apply("shift", narrow, 3).shape == narrow.shape
    with pytest.raises(NotApplicable, match=r"images of 4 px can't be moved by 3\.5 px"):
        apply("shift", narrow, 3.5)


def test_a_quarter_turn_is_exact() -> None:
    images = smooth()
    turned = apply("rotation", images, 90)
    assert any(torch.allclose(turned, torch.rot90(images, way, (2, 3)), rtol=0, atol=1e-9) for way in (1, -1))


def test_rotation_is_about_the_centre_also_of_oblong_images() -> None:
    height, width = 21, 33
    y, x = torch.meshgrid(torch.arange(height) - (height - 1) / 2, torch.arange(width) - (width - 1) / 2, indexing="ij")
    round_about = (-(x**2 + y**2) / 50).exp()[None, None].double()
    near = (x**2 + y**2 < 81)[None, None]
    for degrees in (7, 30):
        torch.testing.assert_close(apply("rotation", round_about, degrees)[near], round_about[near], rtol=0, atol=0.01)


@pytest.mark.parametrize("degrees", [2, 10, 20])
def test_rotation_is_scipys_or_its_mirror_image(degrees: float) -> None:
    images = smooth()
    found = apply("rotation", images, degrees)
    inside = slice(SIDE // 4, -SIDE // 4)
    expected = [
        scipy.ndimage.rotate(images.numpy(), way * degrees, axes=(3, 2), reshape=False, order=1) for way in (1, -1)
    ]
    gaps = [np.abs(found.numpy() - turned)[..., inside, inside].max() for turned in expected]
    assert min(gaps) < 1e-9
    assert max(gaps) > 0.01


def test_lost_contrast_keeps_the_mean_luma() -> None:
    images = smooth()
    mean = luma(images).mean((1, 2))
    for lost in (0.1, 0.8):
        pale = apply("contrast", images, lost)
        torch.testing.assert_close(luma(pale).mean((1, 2)), mean)
        torch.testing.assert_close(pale - mean[:, None, None, None], (1 - lost) * (images - mean[:, None, None, None]))
    grey = apply("contrast", images, 1.0)
    torch.testing.assert_close(grey, mean[:, None, None, None].expand_as(images))


@pytest.mark.parametrize("quality", [90, 50, 10])
@pytest.mark.parametrize("channels", [1, 3])
def test_jpeg_is_torchvisions(quality: int, channels: int) -> None:
    from torchvision.transforms.v2.functional import jpeg_image

    images = smooth(channels=channels, height=20, width=30)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # its own codec is on its way out
        expected = jpeg_image(to_uint8(images), quality)
    found = to_uint8(apply("jpeg", images, quality))
    # Two builds of one codec may round unlike.
    assert float((found.float() - expected.float()).abs().max()) <= 2
    assert float((found.float() - expected.float()).abs().mean()) < 0.05


def test_turned_colours_keep_their_luma() -> None:
    images = 0.5 * smooth()
    for turned in (0.05, 0.25, 0.5):
        torch.testing.assert_close(luma(apply("colour", images, turned)), luma(images))
    torch.testing.assert_close(apply("colour", images, 1.0), images)
    opposite = apply("colour", images, 0.5) - luma(images)[:, None]
    torch.testing.assert_close(opposite, luma(images)[:, None] - images)


def test_grey_has_no_colour() -> None:
    grey = smooth(channels=1).expand(-1, 3, -1, -1)
    torch.testing.assert_close(apply("colour", grey, 0.2), grey)
    with pytest.raises(NotApplicable, match="grey images have no colour"):
        BY_NAME["colour"].series(smooth(channels=1))
