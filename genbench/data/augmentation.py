"""Small random changes of training images, as the code of Larsen et al. 2016 makes them.

https://github.com/andersbll/autoencoding_beyond_pixels: `dataset/augment.py`, strengths from `dataset/celeba.py`.
That code makes 600,000 changed images once, of photographs that it then cuts to a square of 148 pixels. Here each is
changed anew each time it is shown, and what lies beyond its border is as its border. What is done is drawn on the host,
and done on the device.
"""

import math

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

Changes = npt.NDArray[np.float32]

TRANSLATION, SCALE, ANGLE = 2 / 148, 0.01, 0.01
"""Standard deviations of place (parts of the side), size (a factor), and angle (radians)."""
GAMMA, CONTRAST, HUE = 0.05, 0.05, 0.01
"""Standard deviations of the exponents' logarithms, times ln 2, and of hue (parts of the circle)."""
TINY = 1e-12
"""Where a grey has no hue, and black no saturation."""


def draw_changes(count: int, generator: np.random.Generator) -> Changes:
    """Draw what is done to each image.

    Returns:
        (count, 7): how far to the right and down the image is read, in parts of the side, how much of it (a factor), at
        what angle in radians; exponent of the values, exponent of saturation and value, and hue in parts of the circle.
        The exponents are e^((σ² + σn) / ln 2), n of N(0, 1); all others of N(μ, σ²), where μ changes nothing.
    """
    normal = generator.standard_normal((count, 7))
    exponents = [np.exp((s * s + s * n) / math.log(2)) for s, n in ((GAMMA, normal[:, 4]), (CONTRAST, normal[:, 5]))]
    place, scale = TRANSLATION * normal[:, :2].T, 1 + SCALE * normal[:, 2]
    columns = (*place, scale, ANGLE * normal[:, 3], *exponents, HUE * normal[:, 6])
    return np.stack(columns, axis=1).astype(np.float32)


def change(images: Tensor, changes: Tensor) -> Tensor:
    """Return changed images (N, C, side, side) in [-1, 1]; without three channels there is neither hue nor saturation.

    The host is never waited for, and nothing is copied from it.

    Args:
        images: of the same shape and range.
        changes: (N, 7), as `draw_changes` has them.
    """
    right, down, scale, angle, gamma, contrast, hue = changes[:, :, None, None].unbind(1)
    values = (_resampled(images, right, down, scale, angle) + 1) / 2
    values = values.clamp(0, 1) ** gamma[:, None]
    values = _recoloured(values, contrast, hue) if values.shape[1] == 3 else values ** contrast[:, None]
    return 2 * values - 1


def _resampled(images: Tensor, right: Tensor, down: Tensor, scale: Tensor, angle: Tensor) -> Tensor:
    """Read each pixel at scale · rotation · (its place from the centre) + translation, bicubically.

    Args:
        images: (N, C, side, side).
        right: and the others: (N, 1, 1).
    """
    side = images.shape[-1]
    centres = (torch.arange(side, device=images.device, dtype=images.dtype) + 0.5) * (2 / side) - 1
    x, y = centres[None, :], centres[:, None]
    # Not a matrix product, which tf32 would round to tenths of a percent of the image.
    cosine, sine = scale * angle.cos(), scale * angle.sin()
    grid = torch.stack((cosine * x - sine * y + 2 * right, sine * x + cosine * y + 2 * down), dim=-1)
    if images.device.type == "mps":  # where torch has no bicubic sampling
        return _sampled(images.cpu(), grid.cpu()).to(images.device)
    return _sampled(images, grid)


def _sampled(images: Tensor, grid: Tensor) -> Tensor:
    return functional.grid_sample(images, grid, mode="bicubic", padding_mode="border", align_corners=False)


def _recoloured(rgb: Tensor, contrast: Tensor, hue: Tensor) -> Tensor:
    """Raise saturation and value of HSV (Smith 1978) to a power, and turn the hue.

    Args:
        rgb: (N, 3, H, W) in [0, 1].
        contrast: exponent, (N, 1, 1).
        hue: parts of the circle, (N, 1, 1).
    """
    red, green, blue = rgb.unbind(1)
    value = rgb.amax(1)
    chroma = value - rgb.amin(1)
    some = chroma.clamp(min=TINY)
    sixths = torch.where(
        value == red,
        (green - blue) / some,
        torch.where(value == green, 2 + (blue - red) / some, 4 + (red - green) / some),
    )
    saturation = (chroma / value.clamp(min=TINY)) ** contrast
    turned = sixths + 6 * hue
    # A channel has the full value where the hue is within a sixth of its own, and none of the saturation a third away.
    away = torch.stack([(first + turned) % 6 for first in (5, 3, 1)], dim=1)
    lacks = torch.minimum(away, 4 - away).clamp(0, 1)
    return (value**contrast)[:, None] * (1 - saturation[:, None] * lacks)
