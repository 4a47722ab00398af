"""Test pictures that need no data set: dead leaves."""

from functools import lru_cache

import torch
from torch import Tensor

SMALLEST, LARGEST = 0.03, 0.7
"""Radii of the discs, in sides of the picture."""

DISCS = 250
"""Of a picture; where none of them lies, it has the colour of the first."""


def dead_leaves(count: int, channels: int, size: int, seed: int = 0) -> Tensor:
    """Draw pictures of discs that hide one another, (count, channels, size, size) float64 in [-1, 1].

    Radii fall off as their inverse cube, which gives the edges, the flat parts and the statistics over scales that
    photographs have (Lee, Mumford & Huang 2001, section 3). Each disc has one colour.

    Args:
        seed: the same gives the same pictures; a longer series begins with those of a shorter one.
    """
    return torch.stack([_picture(channels, size, seed * 1_000_003 + index) for index in range(count)])


def reconstruction(images: Tensor, seed: int = 0) -> Tensor:
    """Return what a model might make of images: a little blurred, a little noisy, nowhere quite black or white."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(images.shape, generator=generator, dtype=torch.float64).to(images)
    near = 0.5 * images + 0.25 * (images.roll(1, 2) + images.roll(1, 3))
    return (0.9 * near + 0.05 * noise).clamp(-0.99, 0.99)


@lru_cache(maxsize=256)
def _picture(channels: int, size: int, seed: int) -> Tensor:
    """Draw one picture, (channels, size, size); each is asked for many times, and given out as a copy alone."""
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.rand(DISCS, 3 + channels, generator=generator, dtype=torch.float64)
    # The inverse of the distribution function of radii whose density falls off as r^-3.
    radii = (SMALLEST**-2 - drawn[:, 0] * (SMALLEST**-2 - LARGEST**-2)) ** -0.5
    place = (torch.arange(size, dtype=torch.float64) + 0.5) / size
    rows, columns = (
        (place - (1 + 2 * LARGEST) * drawn[:, axis, None] + LARGEST).square() for axis in (1, 2)
    )  # fmt: skip
    covered = rows[:, :, None] + columns[:, None, :] <= radii.square()[:, None, None]
    top = covered.to(torch.uint8).argmax(0)  # the first disc that covers a place
    colours = 2 * drawn[:, 3:] - 1
    return colours[top].permute(2, 0, 1).contiguous()
