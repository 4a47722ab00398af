"""Checks of a similarity's gradient in the fake images, along which the decoder learns."""

import torch
from torch import Tensor

from genbench.errors import NotApplicable
from genbench.interfaces import Similarity
from genbench.testing.interface import CheckFailed
from genbench.testing.pictures import reconstruction
from genbench.testing.similarities import DIFFERENTIABLE, SimilaritySubject, which
from genbench.testing.similarities_values import situations

STEPS = (1e-6, 1e-5, 1e-7, 1e-4, 1e-8)
"""Of central differences, root mean square over pixels of images in [-1, 1].

Where one pixel, or one unit of a network, has a kink within a step, as |x - x̃| where they are equal, that step's
difference is no derivative, rightly; another step's, in which the kink does not lie, is. Where slopes change fast, only
a small step tells them; where they are small beside the value, only a large one does.
"""

TOLERANCE = 1e-3
"""Of a directional derivative, in shares of what is usual along such a direction."""

DIRECTIONS = 3
"""Random ones, beside that of the gradient itself."""

NEAR = "keep roots and logarithms off 0: the gradient of sqrt(d) is infinite at d = 0, of sqrt(d + 1e-12) it is not"


def present(subject: SimilaritySubject) -> str:
    """Check that each image has a gradient that is finite and not zero."""
    real, fake = subject.pair(4)
    _, gradient = subject.slope(subject.build(), real, fake)
    sound, there = gradient.flatten(1).isfinite().all(1), gradient.flatten(1).any(1)
    if not bool(sound.all()):
        raise CheckFailed(f"its gradient is not finite, for {which(~sound)}", NEAR)
    if not bool(there.all()):
        raise CheckFailed(f"its gradient is zero, for {which(~there)}", f"{DIFFERENTIABLE}; `round` has none")
    norms, nowhere = gradient.flatten(1).norm(dim=1), float((gradient == 0).double().mean())
    told = f", 0 in {nowhere:.0%} of the values" if nowhere >= 0.01 else ""
    return f"finite, its norm {float(norms.min()):.3g} to {float(norms.max()):.3g}{told}"


def at_itself(subject: SimilaritySubject) -> str:
    """Check that the gradient is finite where the fake image is the real one."""
    real = subject.pictures(3)
    _, gradient = subject.slope(subject.build(), real, real.clone())
    _expect_finite(gradient, "both images are equal")
    return f"finite, at most {float(gradient.abs().max()):.3g}"


def where_formulas_break(subject: SimilaritySubject) -> str:
    """Check that the gradient is finite on flat, black, white and opposite images."""
    similarity, cases = subject.build(), list(situations(subject))
    for told, real, fake in cases:
        _expect_finite(subject.slope(similarity, real, fake)[1], told)
    return f"finite in {len(cases)} situations"


def differences(subject: SimilaritySubject) -> str:
    """Compare the gradient with central differences in float64: at a reconstruction, near the image and far from it.

    Derivatives along whole directions need a few forward passes, where one for each pixel would take thousands. The
    gradient's own direction finds a wrong length, random ones find what is missing from it.
    """
    similarity = subject.build().double()
    if similarity.surrogate:
        raise NotApplicable(f"its gradient is not that of its value, it says: {similarity.surrogate}")
    real = subject.pictures(2).double()
    generator = torch.Generator().manual_seed(1)
    noise = torch.randn(real.shape, generator=generator, dtype=torch.float64)
    places = {
        "at a reconstruction": reconstruction(real),
        "near the real image": 0.95 * real + 0.02 * noise,
        "far from it": reconstruction(real.roll(1, 0)),
    }
    worst = max((_error(subject, similarity, real, fake, generator), place) for place, fake in places.items())
    if not worst[0] <= TOLERANCE:
        raise CheckFailed(
            f"its gradient is not that of finite differences, {worst[1]}: off by {worst[0]:.1e} of it",
            "is a part of the value detached, rounded, or computed in float32 where the images are float64?",
        )
    return f"agree to {worst[0]:.0e}, along {len(places) * (1 + DIRECTIONS)} directions"


def _error(
    subject: SimilaritySubject, similarity: Similarity, real: Tensor, fake: Tensor, generator: torch.Generator
) -> float:
    """Return the largest error over directions and images, relative to what is usual along such a direction."""
    _, gradient = subject.slope(similarity, real, fake)
    length = gradient.flatten(1).norm(dim=1)
    pixels = gradient[0].numel()
    own = gradient / length.clamp(min=torch.finfo(torch.float64).tiny)[:, None, None, None] * pixels**0.5
    # A random direction of root mean square 1 meets a gradient at its length, give or take; its own, √pixels times.
    usual = [(own, length * pixels**0.5)]
    usual += [
        (torch.randn(fake.shape, generator=generator, dtype=torch.float64), length) for _ in range(DIRECTIONS)
    ]  # fmt: skip
    return max(_least_error(subject, similarity, (real, fake), gradient, *one) for one in usual)


def _least_error(
    subject: SimilaritySubject,
    similarity: Similarity,
    at: tuple[Tensor, Tensor],
    gradient: Tensor,
    direction: Tensor,
    usual: Tensor,
) -> float:
    """Return the error of the step that fits best, the largest over images; not a number counts as infinite."""
    real, fake = at
    expected = (gradient * direction).flatten(1).sum(1)
    least = torch.full_like(expected, torch.inf)
    with torch.no_grad():
        for step in STEPS:
            ahead, behind = (subject.measure(similarity, real, fake + way * step * direction) for way in (1, -1))
            found = (ahead.double() - behind.double()) / (2 * step)
            error = (found - expected).abs() / usual.clamp(min=torch.finfo(torch.float64).tiny)
            least = torch.fmin(least, error)
            if bool((least <= TOLERANCE).all()):
                break
    return float(least.max())


def _expect_finite(gradient: Tensor, told: str) -> None:
    sound = gradient.flatten(1).isfinite().all(1)
    if not bool(sound.all()):
        raise CheckFailed(f"its gradient is not finite where {told}, for {which(~sound)}", NEAR)
