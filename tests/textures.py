"""Pictures for tests of similarities: smooth, with some noise on them."""

import torch
from torch import Tensor, nn


def textures(count: int = 3, channels: int = 3, side: int = 32, seed: int = 0) -> Tensor:
    """Return images (N, C, side, side) float64 in [-1, 1]."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, channels, max(side // 4, 2), max(side // 4, 2), generator=generator, dtype=torch.float64)
    fine = 0.1 * torch.randn(count, channels, side, side, generator=generator, dtype=torch.float64)
    return (2 * nn.functional.interpolate(coarse, size=side, mode="bilinear") - 1 + fine).clamp(-1, 1)
