"""Checks of a similarity's values: what they are, and that they grow with what is wrong with an image."""

from collections.abc import Iterator
from itertools import chain, pairwise

import torch
from torch import Tensor

from genbench.distortions import BY_NAME, DISTORTIONS, Distortion, contrast
from genbench.errors import NotApplicable, first_line
from genbench.interfaces import Similarity
from genbench.testing.interface import CheckFailed
from genbench.testing.pictures import reconstruction
from genbench.testing.similarities import ROUNDING, SimilaritySubject, which

GRADED = ("noise", "blur")
"""Distortions of which each step must cost more than the one before: what is blind to one measures no likeness.

A fair measure may be blind to others: one of edges to brightness, one of luma to colour, one of textures to a shift.
"""

LEAST_STEP = 1e-9
"""By how much a step of them costs more at least, in shares of what the worst one does: more than rounding."""

STEPS = (0.003, 0.01, 0.03)
"""Down a gradient, root mean square over values in [-1, 1]."""

ENHANCED = (-0.1, -0.3)
"""Contrast that is won, as negative strengths of its loss."""


def shape(subject: SimilaritySubject) -> str:
    """Check that there is one number for each image, of one image also."""
    similarity = subject.build()
    for count in (3, 1):
        subject.measure(similarity, *subject.pair(count))
    return "(N,), one number for each image"


def dtype(subject: SimilaritySubject) -> str:
    """Check that values have the images' precision, float32 or float64."""
    hint = "compute in the precision of the images: make constants buffers, or by `images.new_tensor`, and cast nothing"
    for kind in (torch.float32, torch.float64):
        similarity = subject.build().to(kind)
        try:
            value = subject.measure(similarity, *(images.to(kind) for images in subject.pair(2)))
        except RuntimeError as error:
            raise CheckFailed(f"for images of {_name(kind)} it raises {first_line(error)}", hint) from error
        if value.dtype != kind:
            raise CheckFailed(f"its value is {_name(value.dtype)} for images of {_name(kind)}", hint)
    return "float32 for float32, float64 for float64"


def finite(subject: SimilaritySubject) -> str:
    """Check that values are finite, also of equal, of flat and of opposite images."""
    similarity = subject.build()
    cases = list(situations(subject))
    for told, real, fake in cases:
        value = subject.measure(similarity, real, fake)
        if not bool(value.isfinite().all()):
            raise CheckFailed(
                f"its value is {float(value[~value.isfinite()][0])} where {told}",
                "keep denominators and arguments of logarithms away from 0",
            )
    return f"in {len(cases)} situations, with equal and flat images"


def situations(subject: SimilaritySubject) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Yield pairs of images in which formulas break that hold elsewhere, each with what it is in words."""
    real, fake = subject.pair(2)
    yield "the fake image is a reconstruction", real, fake
    yield "both images are equal", real, real.clone()
    for level, name in ((-1.0, "black"), (0.0, "grey"), (1.0, "white")):
        flat = torch.full_like(real, level)
        yield f"the real image is {name} all over", flat, fake
        yield f"the fake image is {name} all over", real, flat
        yield f"both images are {name} all over", flat, flat.clone()
    black, white = torch.full_like(real, -1.0), torch.full_like(real, 1.0)
    yield "the real image is black, the fake one white", black, white
    yield "the real image is white, the fake one black", white, black
    yield "every pixel is black or white, and wrong", real.sign(), -real.sign()


def least(subject: SimilaritySubject) -> str:
    """Check that no image costs less than the real image itself."""
    similarity, real = subject.build(), 0.75 * subject.pictures(2)  # which leaves room for more contrast
    downhill = list(_downhill(subject, similarity, real))
    with torch.no_grad():
        own = subject.measure(similarity, real, real.clone()).double()
        costs = {
            name: subject.measure(similarity, real, fake).double() - own
            for name, fake in chain(_rivals(real), downhill)
        }
    largest = max(float(cost.max()) for cost in costs.values())
    for name, cost in costs.items():
        better = cost < -ROUNDING * max(largest, 0.0)
        if bool(better.any()):
            raise CheckFailed(
                f"{name} costs less than the image itself, for {which(better)}: {float((own + cost)[better][0]):.6g} "
                f"under {float(own[better][0]):.6g}",
                "d(x, x) must be the least value: a model is trained to make it small",
            )
    return f"none of {len(costs)} other images costs less"


def graded(subject: SimilaritySubject) -> str:
    """Check that each step of more noise, and of more blur, costs more."""
    # In float64, and with room for noise, whose mean is 0: sums that cancel out grow by nothing but rounding.
    similarity, real = subject.build().double(), 0.75 * subject.pictures(4).double()
    own = _mean(subject, similarity, real, real.clone())
    for name in GRADED:
        distortion = BY_NAME[name]
        costs = [own, *(_mean(subject, similarity, real, fake) for fake in _series(distortion, real))]
        least = LEAST_STEP * (max(costs) - own)
        steps = (distortion.identity, *distortion.strengths)
        for (weak, low), (strong, high) in pairwise(zip(steps, costs, strict=True)):
            if not high - low > least:
                raise CheckFailed(
                    f"{name} of {strong:g} {distortion.unit} costs {high:.6g} on average, no more than {low:.6g} at "
                    f"{weak:g}",
                    "a worse image must cost more; is the sign right?",
                )
    return f"each step of {' and of '.join(GRADED)}"


def strongest(subject: SimilaritySubject) -> str:
    """Check that of no distortion the strongest step costs less than the weakest."""
    similarity, real = subject.build(), subject.pictures(4)
    costs: dict[str, tuple[float, float]] = {}
    for distortion in DISTORTIONS:
        if series := _series(distortion, real):
            weak, strong = (_mean(subject, similarity, real, fake) for fake in (series[0], series[-1]))
            costs[distortion.name] = (weak, strong)
    largest = max(abs(strong - weak) for weak, strong in costs.values())
    for name, (weak, strong) in costs.items():
        if strong < weak - ROUNDING * largest:
            raise CheckFailed(
                f"the strongest {name} costs {strong:.6g} on average, less than {weak:.6g} of the weakest",
                f"`genbench score {subject.name}` shows the whole curve",
            )
    return f"at least as much as the weakest, of {len(costs)} distortions"


def _rivals(real: Tensor) -> Iterator[tuple[str, Tensor]]:
    """Yield images that are not the real ones."""
    for distortion in DISTORTIONS:
        for strength, fake in zip(distortion.strengths, _series(distortion, real), strict=False):
            yield f"{distortion.name} of {strength:g} {distortion.unit}", fake
    for strength in ENHANCED:
        yield f"contrast raised by {-strength:g}", contrast(real, strength).clamp(-1, 1)
    yield "a brighter image", (real + 0.1).clamp(-1, 1)
    yield "a darker image", (real - 0.1).clamp(-1, 1)
    yield "a reconstruction", reconstruction(real)
    yield "a flat image", real.mean((2, 3), keepdim=True).expand_as(real).contiguous()
    yield "another image", real.roll(1, 0)


def _downhill(subject: SimilaritySubject, similarity: Similarity, real: Tensor) -> Iterator[tuple[str, Tensor]]:
    """Yield images that lie down the gradient at the real ones, where it has one: a minimum has none, or a kink."""
    try:
        _, gradient = subject.slope(similarity, real, real)
    except CheckFailed:  # which is told of any images
        return
    length = gradient.square().mean((1, 2, 3), keepdim=True).sqrt()
    direction = (gradient / length).nan_to_num(0, 0, 0)
    for step in STEPS:
        yield f"the image moved by {step:g} down the gradient", real - step * direction


def _series(distortion: Distortion, real: Tensor) -> list[Tensor]:
    """Return the images at each strength, laid out as usual; none where they can't be distorted so."""
    try:
        return [fake.contiguous() for fake in distortion.series(real)]
    except NotApplicable:
        return []


def _mean(subject: SimilaritySubject, similarity: Similarity, real: Tensor, fake: Tensor) -> float:
    with torch.no_grad():
        return float(subject.measure(similarity, real, fake).double().mean())


def _name(kind: torch.dtype) -> str:
    return str(kind).removeprefix("torch.")
