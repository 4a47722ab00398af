"""Distances between sets of features, on features whose distance is known."""

from collections.abc import Iterator

import torch
from torch import Tensor

from genbench.doctor.findings import Ground
from genbench.evaluate import kernel as distance
from genbench.evaluate import moments
from genbench.evaluate import neighbours as near
from genbench.evaluate.moments import Moments
from genbench.findings import Finding

SIZE, COUNT = 64, 2000
"""Features as an extractor gives them: fewer of them than images."""

TIES = 2e-3
"""Share of images whose k-th neighbour float32 may not tell from the next."""

ROUNDING = 1e-9
"""Largest error in float64, relative to the variance that is measured."""


def frechet(_: Ground) -> Iterator[Finding]:
    """Measure a set against itself, and two Gaussians whose distance has a closed form."""
    measured = moments.measure(torch.split(features(), 300))
    spread = float(measured.covariance.trace())
    own = moments.frechet_distance(measured, measured)
    hint = "reinstall torch and scipy, whose linear algebra is at fault"
    yield Finding.of("fid with itself", own <= ROUNDING * spread, f"{own:.1e}; it must be 0", hint)
    a, b, expected = gaussians()
    found = moments.frechet_distance(a, b)
    told = f"{found:.9g}; the closed form is {expected:.9g}"
    yield Finding.of("fid of gaussians", abs(found - expected) <= ROUNDING * expected, told, hint)


def features() -> Tensor:
    """Return features (COUNT, SIZE) float32 as after a ReLU: correlated, never negative, mostly far from Gaussian."""
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(COUNT, SIZE, generator=generator)
    mixed = hidden @ torch.randn(SIZE, SIZE, generator=generator) / SIZE**0.5
    return torch.relu(mixed + 0.3)


def gaussians() -> tuple[Moments, Moments, float]:
    """Return two Gaussians in SIZE dimensions, and their squared Fréchet distance in closed form.

    Their covariances are made of 2 × 2 blocks that do not commute, turned by one rotation, which moves no distance. For
    2 × 2 matrices, tr (AB)^½ = √(tr AB + 2 √(det A · det B)).
    """
    generator = torch.Generator().manual_seed(1)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    rotation, _ = torch.linalg.qr(draw(SIZE, SIZE))
    a, b = (root @ root.mT for root in draw(2, SIZE // 2, 2, 2))
    crossed = _trace(a @ b)
    roots = (crossed + 2 * (torch.linalg.det(a) * torch.linalg.det(b)).sqrt()).sqrt()
    shift = draw(SIZE)
    expected = shift.square().sum() + (_trace(a) + _trace(b) - 2 * roots).sum()

    def turned(blocks: Tensor, mean: Tensor) -> Moments:
        number = torch.eye(len(blocks), dtype=torch.float64)
        straight = torch.einsum("mn,nij->minj", number, blocks).reshape(SIZE, SIZE)
        return Moments(COUNT, mean, rotation @ straight @ rotation.T)

    return turned(a, torch.zeros(SIZE, dtype=torch.float64)), turned(b, shift), float(expected)


def _trace(blocks: Tensor) -> Tensor:
    return blocks.diagonal(dim1=1, dim2=2).sum(1)


def kernel(_: Ground) -> Iterator[Finding]:
    """Measure the kernel distance of a set to itself, and to itself moved away."""
    found = features()
    own, away = (distance.kernel_distance(found + shift, found, subsets=10) for shift in (0.0, 0.5))
    # Images that stand on both sides lower the mean by 2 (E k(x, x) − E k(x, x′)) / N: never more than this.
    diagonal = float((found.square().mean(1) + 1).pow(3).mean())
    bound = 2 * diagonal / len(found) + 5 * own.standard_error
    told = f"{own.value:.1e}, 0 but for {bound:.0e}; {away.value:.2g} when moved"
    sound = abs(own.value) <= bound < away.value
    yield Finding.of("kid with itself", sound, told, "reinstall genbench, torch and numpy")


def neighbours(_: Ground) -> Iterator[Finding]:
    """Measure precision, recall, density and coverage of a set with itself, and with itself moved far away.

    Each of N points lies in its own neighbourhood, and k others there, so that density is (k + 1)/k and the rest 1.
    """
    found, k = features(), 5
    own, away = (_shares(found + shift, found, k) for shift in (0.0, 100.0))
    told = "precision {:.4g}, recall {:.4g}, density {:.4g}, coverage {:.4g}".format(*own)
    sound = all(abs(a - b) <= TIES for a, b in zip(own, (1, 1, (k + 1) / k, 1), strict=True))
    if sound and away != [0, 0, 0, 0]:
        sound, told = False, "far from every image: {:.4g}, {:.4g}, {:.4g}, {:.4g}; all must be 0".format(*away)
    yield Finding.of("prdc with itself", sound, told, "reinstall genbench and torch")


def _shares(generated: Tensor, real: Tensor, k: int) -> list[float]:
    of_images = (*near.precision_recall(generated, real, k), *near.density_coverage(generated, real, k))
    return [float(values.mean()) for values in of_images]
