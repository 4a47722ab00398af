"""Pairs of pictures, what a similarity says of them, and what piq says itself."""

from functools import cache

import piq
import torch
from torch import Tensor

from genbench.interfaces import Similarity, View
from genbench.testing.pictures import dead_leaves, reconstruction
from genbench_piq.catalogue import Metric


@cache
def pair(side: int, count: int = 2, channels: int = 3) -> tuple[Tensor, Tensor]:
    """Return pictures in float64, and what a model might make of them."""
    real = dead_leaves(count, channels, side)
    return real, reconstruction(real)


def slope(similarity: Similarity, real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
    """Return values (N,) and the gradient of their sum in the fake images."""
    fake = fake.clone().requires_grad_()
    value = similarity(View(real), View(fake))
    return value.detach(), torch.autograd.grad(value.sum(), fake)[0]


def as_piq_says(metric: Metric, real: Tensor, fake: Tensor) -> Tensor:
    """Ask piq itself, image by image."""
    loss = None if metric.exported == "psnr" else getattr(piq, metric.exported)(reduction="none")
    pairs = [((f + 1) / 2, (r + 1) / 2) for f, r in zip(fake.split(1), real.split(1), strict=True)]
    return torch.cat([-piq.psnr(f, r, reduction="none") if loss is None else loss(f, r) for f, r in pairs])
