"""Similarities that see structure: windows of pixels, neighbouring pixels, scales."""

import torch
from torch import Tensor
from torch.nn import functional as F

from genbench.interfaces import Similarity, View
from genbench_similarities.settings import GradientSettings

WINDOW, SIGMA = 11, 1.5
"""Side of SSIM's Gaussian window, and its standard deviation, in pixels (Wang et al. 2004, section III.C)."""

STABILISERS = (0.01**2, 0.03**2)
"""C1 and C2 of SSIM for images in [0, 1]."""

SCALES = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Exponents of MS-SSIM's scales, the finest first (Wang et al. 2003, section 3.2)."""

LEAST_FACTOR = 1e-2
"""Of a scale of MS-SSIM, below which it goes on as a hyperbola."""

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


class MsSsim(Similarity):
    """Half the image's values times 1 - MS-SSIM (Wang, Simoncelli & Bovik 2003, equation 7).

    On as many of the five scales as the image has room for, their exponents renormalised; `facts` says how many.
    """

    def __init__(self) -> None:
        super().__init__()
        room = [f"{count} from {least_side(count)} px" for count in range(2, len(SCALES) + 1)]
        self.facts = {"scales": f"{', '.join(room)}; exponents renormalised where fewer than {len(SCALES)}"}

    def forward(self, real: View, fake: View) -> Tensor:
        first, second = ((view.images + 1) / 2 for view in (real, fake))
        return 0.5 * first[0].numel() * (1 - multiscale_ssim(first, second))


class Gradient(Similarity):
    """Differences of the images' gradients, Σ|∇x - ∇x̃|^α along both axes, and of their pixels, λΣ|x - x̃|^α.

    After the gradient difference loss of Mathieu, Couprie & LeCun 2016, which compares absolute values of gradients, so
    that an edge and its negative are the same to it; here they differ. Gradients alone do not see a constant that is
    added to an image, so pixels count too, as in the paper's sum of both costs, unless λ is 0.
    """

    def __init__(self, settings: GradientSettings) -> None:
        super().__init__()
        self.settings = settings

    def forward(self, real: View, fake: View) -> Tensor:
        # The gradient is linear: that of the difference is the difference of the gradients.
        error = real.images - fake.images
        edges = self._cost(error.diff(dim=2)) + self._cost(error.diff(dim=3))
        return edges + self.settings.pixels * self._cost(error)

    def _cost(self, error: Tensor) -> Tensor:
        return error.abs().pow(self.settings.exponent).flatten(1).sum(1)


class LaplacianPyramid(Similarity):
    """Absolute differences of the levels of two Laplacian pyramids, each level by its pixels' area.

    Lap1 of Bojanowski et al. 2018 (after Ling & Okada 2006): Σ_j 4^j |L_j(x) - L_j(x̃)|.
    """

    def forward(self, real: View, fake: View) -> Tensor:
        # The pyramid is linear: that of the difference is the difference of the pyramids.
        levels = pyramid(real.images - fake.images)
        return torch.stack([4.0**j * level.abs().flatten(1).sum(1) for j, level in enumerate(levels)]).sum(0)


def ssim(first: Tensor, second: Tensor) -> Tensor:
    """Return the SSIM of each pair, (N,), of images (N, C, H, W) in [0, 1] with sides of at least `WINDOW`.

    Each channel is compared by itself; the mean is over channels and over windows inside the image.
    """
    luminance, contrast_structure = _compared(first, second)
    return (luminance * contrast_structure).flatten(1).mean(1)


def multiscale_ssim(first: Tensor, second: Tensor) -> Tensor:
    """Return the MS-SSIM of each pair, (N,), of images (N, C, H, W) in [0, 1] with sides of at least `WINDOW`.

    The product over scales of contrast times structure and, at the coarsest, of SSIM, each a mean over channels and
    windows inside the image, to the power of the scale's exponent. A negative factor has no such power, and that of one
    near 0 is too steep: below `LEAST_FACTOR` the hyperbola that touches it there stands for the factor, which stays
    positive and keeps a gradient, where others take 0.
    """
    exponents = _exponents(min(first.shape[2:]))
    logarithm = first.new_zeros(len(first))
    for exponent in exponents[:-1]:
        _, contrast_structure = _compared(first, second)
        logarithm = logarithm + exponent * _logarithm(contrast_structure.flatten(1).mean(1))
        first, second = _halved(first), _halved(second)
    return (logarithm + exponents[-1] * _logarithm(ssim(first, second))).exp()


def least_side(scales: int) -> int:
    """Return the side in pixels of the smallest image with room for so many scales: 161 for five."""
    side: int = (WINDOW - 1) * 2 ** (scales - 1) + 1
    return side


def pyramid(images: Tensor) -> list[Tensor]:
    """Return the levels of the Laplacian pyramid of images (N, C, H, W), the finest first; the last is what is left.

    Of an odd side the next level has the greater half.
    """
    levels = []
    while min(images.shape[2:]) >= 2 * COARSEST:
        rows, columns = (_blur(side, images) for side in images.shape[2:])
        smaller = rows[::2] @ images @ columns[::2].T
        # Enlarged with zeros between the pixels, blurred, and so brightened again.
        levels.append(images - 4 * (rows[:, ::2] @ smaller @ columns[:, ::2].T))
        images = smaller
    return [*levels, images]


def _compared(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Return luminance, and contrast times structure, of each window, (N, C, H - 10, W - 10)."""
    rows, columns = (_windows(side, first) for side in first.shape[2:])
    mean_1, mean_2, squares, product = (
        rows @ values @ columns.T for values in (first, second, first * first + second * second, first * second)
    )
    # Of both variances SSIM takes but the sum.
    means, product_of_means = mean_1 * mean_1 + mean_2 * mean_2, mean_1 * mean_2
    c1, c2 = STABILISERS
    luminance = (2 * product_of_means + c1) / (means + c1)
    contrast_structure = (2 * (product - product_of_means) + c2) / (squares - means + c2)
    return luminance, contrast_structure


def _windows(side: int, like: Tensor) -> Tensor:
    """Return the matrix (side - 10, side) that takes Gaussian means of the windows along one axis."""
    place = torch.arange(side, device=like.device, dtype=like.dtype)
    start = place[: side - WINDOW + 1, None]
    inside = (place >= start) & (place < start + WINDOW)
    weights = (-((place - start - WINDOW // 2) ** 2) / (2 * SIGMA**2)).exp() * inside
    return weights / weights.sum(1, keepdim=True)


def _exponents(side: int) -> list[float]:
    """Return the exponents of the scales for which there is room, the finest first, summing to 1."""
    room = [exponent for scale, exponent in enumerate(SCALES) if scale == 0 or side >= least_side(scale + 1)]
    # The five published ones sum to 1 already, but for their rounding; they are used as they stand.
    return room if len(room) == len(SCALES) else [exponent / sum(room) for exponent in room]


def _logarithm(factor: Tensor) -> Tensor:
    """Return the logarithm of a factor f, and below the least one, ε, that of ε²/(2ε - f)."""
    held = factor.clamp(min=LEAST_FACTOR)
    return held.log() - ((held - factor) / LEAST_FACTOR).log1p()


def _halved(images: Tensor) -> Tensor:
    """Return means of 2 × 2 pixels; at an odd border, of those there are."""
    return F.avg_pool2d(images, 2, ceil_mode=True, count_include_pad=False)


def _blur(side: int, like: Tensor) -> Tensor:
    """Return the matrix (side, side) that blurs along one axis, the image being reflected at its borders."""
    pulses = F.pad(torch.eye(side, device=like.device, dtype=like.dtype), (2, 2), mode="reflect")
    return torch.stack([weight * pulses[:, k : k + side] for k, weight in enumerate(BINOMIAL)]).sum(0).T
