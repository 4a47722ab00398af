"""How sure a mean over images is: its standard error, by the formula or by a bootstrap; pure."""

from math import sqrt
from typing import NamedTuple

import torch
from torch import Tensor

RESAMPLES = 1000
_AT_A_TIME = 50

OVER_IMAGES = "standard error over images"
BOOTSTRAPPED = f"{OVER_IMAGES}, bootstrap of {RESAMPLES} resamples"
"""What protocols say of `standard_error`, and of what `resampled` tells."""


class Estimate(NamedTuple):
    """A mean's standard error and its 95 % percentile interval, from a bootstrap over images."""

    error: float
    low: float
    high: float


def standard_error(values: Tensor) -> float | None:
    """Return the standard error of the mean of values (N,), or None for fewer than two."""
    return values.std().item() / sqrt(len(values)) if len(values) > 1 else None


def bootstrap(values: Tensor, seed: int) -> Estimate | None:
    """Return how sure the mean of values (N,), one an image, is; None for fewer than two."""
    if len(values) < 2:
        return None
    means = resampled(values, seed) / len(values)
    low, high = torch.quantile(means, torch.tensor([0.025, 0.975], dtype=means.dtype)).tolist()
    return Estimate(means.std().item(), low, high)


def resampled(values: Tensor, seed: int) -> Tensor:
    """Return sums of values (..., N) float64 over N images drawn with replacement, (RESAMPLES, ...) (Efron 1979).

    NaN for fewer than two images, whose draws are all the same.
    """
    count = values.shape[-1]
    if count < 2:
        return values.new_full((RESAMPLES, *values.shape[:-1]), torch.nan)
    generator = torch.Generator().manual_seed(seed)
    sums = []
    for _ in range(RESAMPLES // _AT_A_TIME):
        chosen = torch.randint(count, (_AT_A_TIME, count), generator=generator)
        times = torch.zeros(_AT_A_TIME, count, dtype=torch.float64)
        times.scatter_add_(1, chosen, torch.ones_like(times))
        sums.append(torch.einsum("rn,...n->r...", times, values))
    return torch.cat(sums)
