"""The conformance kit's checks, and what Sobel's operator is known to give."""

from collections.abc import Callable

import numpy as np
import torch
from genbench.interfaces import View
from genbench.testing import parametrize_with_checks
from scipy import ndimage

from genbench_sobel.settings import SobelSettings
from genbench_sobel.similarity import Sobel, gradients


@parametrize_with_checks("similarity", "sobel")
def test_it_is_a_similarity(check: Callable[[], None]) -> None:
    check()


def test_the_gradients_are_those_of_scipy() -> None:
    images = torch.rand(2, 3, 9, 7, dtype=torch.float64)
    for channel, found in zip(images.flatten(0, 1), gradients(images).flatten(0, 1), strict=True):
        truth = [ndimage.sobel(channel.numpy(), axis, mode="mirror") / 8 for axis in (1, 0)]
        torch.testing.assert_close(found, torch.from_numpy(np.stack(truth)))


def test_one_brightness_more_is_told_by_the_pixels_alone() -> None:
    real = torch.rand(4, 3, 8, 8) - 0.5
    cost = Sobel(SobelSettings(pixels=0.5))(View(real), View(real + 0.2))
    torch.testing.assert_close(cost, torch.full((4,), 0.5 * 0.5 * 0.2**2 * 3 * 8 * 8))
