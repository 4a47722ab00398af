"""Between uint8 at rest and floats in [-1, 1] inside."""

import torch
from torch import Tensor


def to_float(images: Tensor) -> Tensor:
    """Turn uint8 images into floats in [-1, 1]."""
    return images.float() / 127.5 - 1


def to_uint8(images: Tensor) -> Tensor:
    """Quantise floats in [-1, 1] to uint8, rounding to nearest; the inverse of `to_float`."""
    return ((images + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
