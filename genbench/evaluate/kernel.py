"""The kernel distance between two sets of features, KID where they are Inception's.

MMD² = E k(x, x′) + E k(y, y′) − 2 E k(x, y) with k(x, y) = (xᵀy/F + 1)³, estimated without bias on subsets of both
sides and averaged (Gretton et al. 2012, eq. 3; Bińkowski et al. 2018, section 4).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import sqrt

import numpy as np
import torch
from torch import Tensor

from genbench.errors import NotApplicable
from genbench.evaluate.moments import require_finite

SUBSETS, SUBSET_SIZE, SEED = 100, 1000, 2020
"""As in torch-fidelity."""


@dataclass(frozen=True)
class KernelDistance:
    """A kernel distance.

    Attributes:
        value: the mean over subsets; unbiased, so it may fall below nought.
        standard_error: of `value` over generated images, with the real ones held fixed.
        deviation: standard deviation over subsets, which is what torch-fidelity and others report beside the mean.
    """

    value: float
    standard_error: float
    deviation: float


def kernel_distance(
    generated: Tensor, real: Tensor, *, subsets: int = SUBSETS, subset_size: int = SUBSET_SIZE, seed: int = SEED
) -> KernelDistance:
    """Return the kernel distance between features (N, F) and (M, F), equal to torch-fidelity's but for rounding.

    Subsets are torch-fidelity's, drawn in its order. Products are float32, as there, and sums float64.

    The variance of a U-statistic falls as 1/N (Hoeffding 1948): it is 4 Var(h)/N with the witness of a generated image,
    h(x) = E k(x, x′) − E k(x, y), here averaged over the subsets that the image is in. To it comes what the choice of
    subsets adds, their variance over their number; for a single subset, 4 Var(h) of either side times 1/subset size −
    1/images. Where generated images can't be told from real ones, Var(h) is nought but for the error of h itself, and
    the standard error up to one and a half times too large, as a jackknife's is (Efron & Stein 1981). The deviation
    over subsets times √(subset size / N) would also count the real images' variance, and fall to nought where a subset
    is nearly all images.

    Raises:
        NotApplicable: one side has fewer images than a subset.
        GenbenchError: a feature is not finite.
    """
    _check(generated, real, subset_size)
    values = np.empty(subsets)
    witness = torch.zeros(2, len(generated), dtype=torch.float64)  # sums, and of how many subsets
    for i, (ours, theirs) in enumerate(_subsets(len(generated), len(real), subsets, subset_size, seed)):
        h_ours, h_theirs = _witnesses(generated[ours], real[theirs])
        values[i] = float(h_ours.mean() + h_theirs.mean())
        witness[0, ours] += h_ours
        witness[1, ours] += 1
    seen = witness[:, witness[1] > 0]
    own = 4 * float((seen[0] / seen[1]).var()) / len(generated)
    if subsets > 1:
        chosen = float(values.var(ddof=1)) / subsets
    else:  # as of draws without replacement
        left_out = (1 / subset_size - 1 / len(side) for side in (generated, real))
        chosen = sum(4 * float(h.var()) * share for h, share in zip((h_ours, h_theirs), left_out, strict=True))
    return KernelDistance(float(values.mean()), sqrt(own + chosen), float(values.std()))


def _subsets(first: int, second: int, subsets: int, size: int, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the places of the images of each subset, first of the generated, then of the real ones."""
    random = np.random.RandomState(seed)
    for _ in range(subsets):
        yield (
            torch.from_numpy(random.choice(first, size, replace=False)),
            torch.from_numpy(random.choice(second, size, replace=False)),
        )


def _witnesses(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Return of each image the mean kernel with the others of its side less that with all of the other side."""
    between = _kernel(x, y)
    return (
        _others(x) - between.sum(1, dtype=torch.float64) / len(y),
        _others(y) - between.sum(0, dtype=torch.float64) / len(x),
    )


def _others(x: Tensor) -> Tensor:
    """Return the mean kernel of each row with all others, (N,) float64."""
    values = _kernel(x, x).fill_diagonal_(0)
    return values.sum(1, dtype=torch.float64) / (len(x) - 1)


def _kernel(x: Tensor, y: Tensor) -> Tensor:
    """Return the polynomial kernel of degree 3, (N, M)."""
    base = (x @ y.T).div_(x.shape[1]).add_(1)
    return base.square().mul_(base)


def _check(generated: Tensor, real: Tensor, subset_size: int) -> None:
    for name, features in (("generated", generated), ("real", real)):
        if len(features) < subset_size:
            raise NotApplicable(
                f"a kernel distance on subsets of {subset_size} needs as many images, there are {len(features)} {name}",
                "ask for more samples, another reference split, or a smaller `subset_size`",
            )
        require_finite(features)
