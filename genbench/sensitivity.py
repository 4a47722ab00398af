"""How a similarity behaves on images that got worse: how much noise costs as much as each distortion.

Costs of different similarities have no common scale, and any increasing function of one is as good a measure. What can
be compared is their exchange rates: the noise that costs as much as a distortion, image by image, is the same for a
similarity, its square and its logarithm.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import bdtr
from torch import Tensor

from genbench.data.packed import PackedDataset, Split
from genbench.distortions import BY_NAME, DISTORTIONS, Distortion
from genbench.errors import GenbenchError, NotApplicable
from genbench.images import to_float
from genbench.randomness import derive
from genbench.records import Scalar
from genbench.statistics import ALPHA
from genbench.train.precision import training_in

SEED = 0
"""Of the choice of images."""

NOISE = "noise"
"""The distortion that all others are measured by."""

LEVELS: tuple[float, ...] = tuple(
    sorted({0.002, 0.003, 0.005, 0.007, 0.015, 0.03, 0.07, 0.15, 0.3, 0.5, 0.7, 1.0, *BY_NAME[NOISE].strengths})
)
"""Standard deviations of the noise, of the whole range; between two of them, cost and noise are taken for a power law.
Below the least nothing shows in 8 bits, and the highest leaves nothing of an image."""

AT_A_TIME = 32
"""Images that a similarity is given at once."""

Floats = NDArray[np.float64]
Measure = Callable[[Tensor, Tensor], Tensor]
"""From images and others, (N, C, H, W) in [-1, 1], to the cost of each pair, (N,)."""


@dataclass(frozen=True)
class Median:
    """A median over images with its 95 % interval, by the sign test; None where there are too few images for one."""

    value: float
    low: float | None
    high: float | None

    @property
    def half_width(self) -> float | None:
        """Return half of the interval."""
        return None if self.low is None or self.high is None else (self.high - self.low) / 2


@dataclass(frozen=True)
class Mean:
    """A mean with its standard error."""

    value: float
    error: float


@dataclass(frozen=True)
class Point:
    """What one strength of a distortion costs.

    Attributes:
        cost: in the similarity's own unit, beyond what images cost to themselves; over images.
        median: standard deviation of the noise that costs as much, of the whole range, LEVELS[0] and LEVELS[-1]
            standing for all beyond. Of noise itself: its cost over that of another image.
    """

    strength: float
    cost: Mean
    median: Median


@dataclass(frozen=True)
class Curve:
    """What the strengths of a distortion cost, from weak to strong."""

    distortion: str
    unit: str
    points: tuple[Point, ...]


@dataclass(frozen=True)
class Sensitivity:
    """How a similarity behaves.

    Attributes:
        facts: what can move its value.
        noise: of each level, its cost over that of another image.
        curves: of each other distortion, the noise that costs as much.
        another: the noise that costs as much as another image of the data set.
    """

    name: str
    facts: Mapping[str, Scalar]
    noise: Curve
    curves: tuple[Curve, ...]
    another: Median
    another_cost: Mean


@dataclass(frozen=True)
class Costs:
    """What each of N images costs beyond what it costs to itself.

    Attributes:
        noise: (LEVELS, N).
        distorted: by distortion, (strengths, N).
        another: (N,), of the image that comes after it.
    """

    noise: Floats
    distorted: Mapping[str, Floats]
    another: Floats


def choose(dataset: PackedDataset, split: Split, count: int) -> Tensor:
    """Return so many images of a split, or all of fewer, drawn without replacement: (N, C, H, W) uint8.

    Raises:
        GenbenchError: there are fewer than two.
    """
    places = dataset.indices(split)
    if len(places) < 2:
        raise GenbenchError(
            f"`{dataset.name}` has {len(places)} images in its {split} split, expected two or more",
            "choose another by --split",
        )
    drawn = np.random.default_rng(derive(SEED, "score")).permutation(places)[:count]
    return torch.from_numpy(np.ascontiguousarray(dataset.images[drawn].transpose(0, 3, 1, 2)))


def applicable(images: Tensor) -> tuple[list[Distortion], dict[str, str]]:
    """Return the distortions beside noise that these images can suffer, and of the others why not, by name."""
    able, without = [], {}
    for distortion in DISTORTIONS:
        try:
            distortion.series(to_float(images[:1]))
        except NotApplicable as error:
            without[distortion.name] = error.message
            continue
        if distortion.name != NOISE:
            able.append(distortion)
    return able, without


def measure(similarity: Measure, images: Tensor, distortions: Sequence[Distortion], device: torch.device) -> Costs:
    """Return what distorted images cost, computed as in training, in float32.

    Args:
        images: (N, C, H, W) uint8, two or more.

    Raises:
        GenbenchError: a cost is not a finite number.
    """
    pairs = zip(torch.split(images, AT_A_TIME), torch.split(images.roll(-1, 0), AT_A_TIME), strict=True)
    with torch.no_grad(), training_in("float32"):
        parts = [
            _batch(similarity, to_float(real.to(device)), to_float(other.to(device)), distortions)
            for real, other in pairs
        ]
    return Costs(
        noise=np.concatenate([part.noise for part in parts], axis=1),
        distorted={d.name: np.concatenate([part.distorted[d.name] for part in parts], axis=1) for d in distortions},
        another=np.concatenate([part.another for part in parts]),
    )


def describe(name: str, facts: Mapping[str, Scalar], costs: Costs) -> Sensitivity:
    """Return what costs tell of a similarity.

    Raises:
        GenbenchError: most images cost no more when they are replaced by others.
    """
    if np.median(costs.another) <= 0:
        raise GenbenchError(
            f"similarity `{name}` tells most images from no other: there is nothing to hold a distortion against",
            f"`genbench check {name}` says what a similarity has to do",
            exit_code=1,
        )
    with np.errstate(divide="ignore", invalid="ignore"):
        shares = np.where(costs.noise > 0, costs.noise / np.maximum(costs.another, 0), 0.0)
    noise = [Point(*point) for point in zip(LEVELS, map(mean, costs.noise), map(median, shares), strict=True)]
    return Sensitivity(
        name=name,
        facts=facts,
        noise=Curve(NOISE, BY_NAME[NOISE].unit, tuple(noise)),
        curves=tuple(_curve(BY_NAME[of], values, costs.noise) for of, values in costs.distorted.items()),
        another=median(equivalents(costs.another, costs.noise)),
        another_cost=mean(costs.another),
    )


def protocol() -> dict[str, object]:
    """Return what of the measuring can move a number, beside images and similarity."""
    return {
        "images_seed": SEED,
        "noise_levels": list(LEVELS),
        "noise": "one pattern for all images, cut off at the ends of the range",
        "statistic": "median over images, 95 % interval by the sign test",
        "another_image": "the one drawn next",
        "precision": "float32",
        "versions": {package: version(package) for package in ("genbench", "numpy", "pillow", "torch", "torchvision")},
    }


def equivalents(costs: Floats, noise: Floats) -> Floats:
    """Return the least noise that costs as much, of each image: (..., N), within LEVELS.

    Args:
        costs: (..., N).
        noise: (LEVELS, N), the same images' costs at each level.
    """
    # The least noise: a curve that falls again counts as level from its peak on.
    reached = np.maximum.accumulate(noise, axis=0)
    above = (reached < costs[..., None, :]).sum(axis=-2)  # the number of levels that cost less
    upper = np.clip(above, 1, len(LEVELS) - 1)
    image = np.arange(noise.shape[1])
    low, high = (_log(reached[place, image]) for place in (upper - 1, upper))
    part = np.clip((_log(costs) - low) / np.where(high > low, high - low, 1.0), 0, 1)
    levels = np.log(LEVELS)
    between = np.exp(levels[upper - 1] + part * (levels[upper] - levels[upper - 1]))
    return np.select([above == 0, above == len(LEVELS)], [LEVELS[0], LEVELS[-1]], between)


def median(values: Floats) -> Median:
    """Return the median of values (N,) with the interval between two of them that holds it by the sign test at 5 %.

    An interval without end is none.
    """
    ordered = np.sort(values)
    count = len(ordered)
    # The k-th least value is above the median with the chance that k or more of N fair coins show heads.
    outside = int((bdtr(np.arange(count // 2), count, 0.5) <= ALPHA / 2).sum())
    if not outside or not np.isfinite(ordered[[outside - 1, count - outside]]).all():
        return Median(float(np.median(ordered)), None, None)
    return Median(float(np.median(ordered)), float(ordered[outside - 1]), float(ordered[count - outside]))


def mean(values: Floats) -> Mean:
    """Return the mean of values (N,) with its standard error."""
    return Mean(float(values.mean()), float(values.std(ddof=1) / np.sqrt(len(values))))


def costs_of(similarity: Measure, real: Tensor, fake: Tensor, what: str) -> Floats:
    """Return the cost of each pair, (N,).

    Args:
        what: is compared, in words.

    Raises:
        GenbenchError: they are not N finite numbers.
    """
    cost: object = similarity(real, fake)
    see = "`genbench check` says what a similarity has to do"
    if not isinstance(cost, Tensor):
        raise GenbenchError(f"the similarity gives a {type(cost).__name__}, expected a tensor", see, exit_code=1)
    if cost.shape != real.shape[:1]:
        raise GenbenchError(
            f"the similarity's cost has the shape {tuple(cost.shape)}, expected ({len(real)},), one an image",
            see,
            exit_code=1,
        )
    if not bool(cost.isfinite().all()):
        bad = cost[~cost.isfinite()][0].item()
        raise GenbenchError(f"the similarity's cost is {bad} for {what}, expected a finite number", see, exit_code=1)
    return cost.cpu().double().numpy()


def _curve(distortion: Distortion, costs: Floats, noise: Floats) -> Curve:
    as_noise = equivalents(costs, noise)
    points = zip(distortion.strengths, map(mean, costs), map(median, as_noise), strict=True)
    return Curve(distortion.name, distortion.unit, tuple(Point(*point) for point in points))


def _batch(similarity: Measure, real: Tensor, other: Tensor, distortions: Sequence[Distortion]) -> Costs:
    itself = costs_of(similarity, real, real, "an image and itself")

    def excess(distortion: Distortion, strengths: Sequence[float]) -> Floats:
        told = [f"{distortion.name} of {strength:g} {distortion.unit}" for strength in strengths]
        worse = (distortion.apply(real, strength) for strength in strengths)
        return np.stack(
            [costs_of(similarity, real, fake, what) - itself for fake, what in zip(worse, told, strict=True)]
        )

    return Costs(
        noise=excess(BY_NAME[NOISE], LEVELS),
        distorted={distortion.name: excess(distortion, distortion.strengths) for distortion in distortions},
        another=costs_of(similarity, real, other, "two different images") - itself,
    )


def _log(values: Floats) -> Floats:
    """Return logarithms, of what is no more than nothing that of the least number there is."""
    return np.log(np.maximum(values, np.finfo(np.float64).tiny))
