"""Similarities that see structure: windows of pixels, and scales."""

import torch
from torch import Tensor
from torch.nn import functional as F

from genbench.interfaces import Similarity, View

WINDOW, SIGMA = 11, 1.5
"""Side of SSIM's Gaussian window, and its standard deviation, in pixels (Wang et al. 2004, section III.C)."""

STABILISERS = (0.01**2, 0.03**2)
"""C1 and C2 of SSIM for images in [0, 1]."""

BINOMIAL = (1 / 16, 4 / 16, 6 / 16, 4 / 16, 1 / 16)
"""The pyramid's filter along one axis (Burt & Adelson 1983, with a = 3/8)."""

COARSEST = 4
"""Least side in pixels of a level of the pyramid."""


class Ssim(Similarity):
    """Half the image's values times 1 - SSIM (Wang et al. 2004, equation 13), over windows that lie inside the image.

    Not a likelihood by itself: like a Gaussian's exponent it is 0 for equal images and quadratic around them.
    """

    def forward(self, real: View, fake: View) -> Tensor:
        first, second = ((view.images + 1) / 2 for view in (real, fake))
        return 0.5 * first[0].numel() * (1 - ssim(first, second))


class Laplacian(Similarity):
    """Absolute differences of the levels of two Laplacian pyramids, each level by its pixels' area.

    Lap1 of Bojanowski et al. 2018, section 3.2 (after Ling & Okada 2006): Σ_j 4^j |L_j(x) - L_j(x̃)|.
    """

    def forward(self, real: View, fake: View) -> Tensor:
        # The pyramid is linear: that of the difference is the difference of the pyramids.
        levels = pyramid(real.images - fake.images)
        return torch.stack([4.0**j * level.abs().flatten(1).sum(1) for j, level in enumerate(levels)]).sum(0)


def ssim(first: Tensor, second: Tensor) -> Tensor:
    """Return the SSIM of each pair, (N,), of images (N, C, H, W) in [0, 1] with sides of at least `WINDOW`.

    Each channel is compared by itself; the mean is over channels and over windows inside the image.
    """
    rows, columns = (_windows(side, first) for side in first.shape[2:])
    mean_1, mean_2, square_1, square_2, product = (
        rows @ values @ columns.T for values in (first, second, first * first, second * second, first * second)
    )
    variance_1, variance_2 = square_1 - mean_1 * mean_1, square_2 - mean_2 * mean_2
    covariance = product - mean_1 * mean_2
    c1, c2 = STABILISERS
    luminance = (2 * mean_1 * mean_2 + c1) / (mean_1 * mean_1 + mean_2 * mean_2 + c1)
    contrast_structure = (2 * covariance + c2) / (variance_1 + variance_2 + c2)
    return (luminance * contrast_structure).flatten(1).mean(1)


def pyramid(images: Tensor) -> list[Tensor]:
    """Return the levels of the Laplacian pyramid of images (N, C, H, W), the finest first; the last is what is left."""
    levels = []
    while min(images.shape[2:]) >= 2 * COARSEST and not any(side % 2 for side in images.shape[2:]):
        smaller = _blurred(images)[..., ::2, ::2]
        levels.append(images - _enlarged(smaller))
        images = smaller
    return [*levels, images]


def _windows(side: int, like: Tensor) -> Tensor:
    """Return the matrix (side - 10, side) that takes Gaussian means of the windows along one axis."""
    place = torch.arange(side, device=like.device, dtype=like.dtype)
    start = place[: side - WINDOW + 1, None]
    inside = (place >= start) & (place < start + WINDOW)
    weights = (-((place - start - WINDOW // 2) ** 2) / (2 * SIGMA**2)).exp() * inside
    return weights / weights.sum(1, keepdim=True)


def _blurred(images: Tensor, gain: float = 1.0) -> Tensor:
    """Blur along both axes, the image being reflected at its borders."""
    channels = images.shape[1]
    line = images.new_tensor(BINOMIAL)
    kernel = (gain * line[:, None] * line[None, :]).expand(channels, 1, 5, 5)
    return F.conv2d(F.pad(images, (2, 2, 2, 2), mode="reflect"), kernel, groups=channels)


def _enlarged(images: Tensor) -> Tensor:
    """Double both sides: zeros between the pixels, blurred."""
    count, channels, height, width = images.shape
    spread = images.new_zeros(count, channels, height, 2, width, 2)
    spread[:, :, :, 0, :, 0] = images
    return _blurred(spread.reshape(count, channels, 2 * height, 2 * width), gain=4.0)
