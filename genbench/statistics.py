"""What seeds can tell: intervals, tests between rows, and ranks. Pure; NumPy and SciPy, without torch.

Two rows are compared by Student's paired t test over the seeds that both have, where these are two or more; else by
Welch's t test (Biometrika 34, 1947) where each has two or more; else nothing can be said. All tests of one column are
corrected together by Holm's step-down procedure (Scand. J. Statistics 6, 1979), which bounds the chance of any false
finding in it by 5 %, whatever the tests' dependence.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from math import frexp, ldexp
from statistics import NormalDist
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr, stdtrit

ALPHA = 0.05
"""How often any false difference may be found among the rows of one column; intervals cover 1 - ALPHA."""

_NORMAL_BOUND = NormalDist().inv_cdf(1 - ALPHA / 2)

_MOST_VALUES = 2**19
"""Values of all pairs that are held at a time: 4 MiB an array."""

_LARGEST = float(np.finfo(np.float64).max)

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]
Sample = Mapping[int, float]
"""One row's values in a column, by seed."""


@dataclass(frozen=True)
class Standing:
    """A row's place in one column.

    Attributes:
        rank: 1 and the number of rows that are significantly better.
        best: whether no row is significantly better, where the column tells any two rows apart.
    """

    rank: int
    best: bool


@dataclass(frozen=True)
class Difference:
    """A row's mean less that of another, which is the baseline.

    Attributes:
        value: over the seeds that both have where the test is paired, else of all of each.
        half_width: of its 95 % interval; None where there are too few seeds, as is `p`.
        p: of the test, corrected for all rows of the column.
        paired: whether the test was.
    """

    value: float
    half_width: float | None = None
    p: float | None = None
    paired: bool = False

    @property
    def significant(self) -> bool:
        """Return whether it may be called a difference."""
        return self.p is not None and self.p <= ALPHA


@dataclass(frozen=True)
class Moments:
    """Count, mean and sample variance of each column of a matrix; zero where there are too few values."""

    n: NDArray[np.int64]
    mean: Floats
    variance: Floats


@dataclass(frozen=True)
class Tests:
    """Two-sided t tests of many pairs, one an entry; NaN where nothing can be said.

    Attributes:
        difference: of the means, first less second.
        half_width: of the difference's 95 % interval.
    """

    difference: Floats
    half_width: Floats
    p: Floats
    paired: NDArray[np.bool_]


def half_widths(deviations: Sequence[float], counts: Sequence[int]) -> list[float]:
    """Return half of the 95 % t interval around each mean.

    Args:
        deviations: sample standard deviations.
        counts: over how many values each, two or more.
    """
    n = np.array(counts, dtype=np.int64)
    distinct, place = np.unique(n, return_inverse=True)
    factors = stdtrit(distinct - 1.0, 1 - ALPHA / 2) / np.sqrt(distinct)
    return _finite(np.array(deviations, dtype=np.float64), factors[place])


def standings(samples: Sequence[Sample], direction: Literal["higher", "lower"]) -> list[Standing | None]:
    """Rank the rows of one column; None for a row that can be tested against no other.

    Args:
        samples: of each row, perhaps empty.
    """
    tested = [index for index, sample in enumerate(samples) if len(sample) > 1]
    found: list[Standing | None] = [None] * len(samples)
    if len(tested) < 2:
        return found
    values, _ = _scaled([samples[index] for index in tested])
    first, second = np.triu_indices(len(tested), 1)
    tests = t_tests(values, first, second, only_significance=True)
    significant = holm(tests.p) <= ALPHA
    first_wins = (tests.difference > 0) == (direction == "higher")
    loser = np.where(first_wins, second, first)
    beaten = np.bincount(loser[significant], minlength=len(tested))
    for index, by in zip(tested, beaten.tolist(), strict=True):
        found[index] = Standing(by + 1, by == 0 and bool(significant.any()))
    return found


def differences(samples: Sequence[Sample], baseline: int) -> list[Difference | None]:
    """Return the difference of each row of one column from one of them, whose own is None; None without values."""
    if not samples[baseline]:
        return [None] * len(samples)
    values, scale = _scaled(samples)
    others = np.array([i for i, sample in enumerate(samples) if sample and i != baseline], dtype=np.intp)
    tests = t_tests(values, others, np.full_like(others, baseline))
    means = moments(values).mean
    plain = _finite(means[others] - means[baseline], scale)
    gaps, halves = _finite(tests.difference, scale), _finite(tests.half_width, scale)
    found: list[Difference | None] = [None] * len(samples)
    for place, (index, p) in enumerate(zip(others.tolist(), holm(tests.p).tolist(), strict=True)):
        if np.isnan(p):
            found[index] = Difference(plain[place])
        else:
            found[index] = Difference(gaps[place], halves[place], p, bool(tests.paired[place]))
    return found


def t_tests(values: Floats, first: Indices, second: Indices, *, only_significance: bool = False) -> Tests:
    """Test columns of one matrix against others, two-sided.

    Args:
        values: (seeds, rows of the table), of about 1; NaN for a seed that a row lacks.
        first: a row of each pair.
        second: the row that it is held against.
        only_significance: leave out intervals, and take 1 for each p above ALPHA that need not be computed.
    """
    gap, variance, freedom, paired = _paired(values, first, second)
    rest = np.flatnonzero(~paired)
    if rest.size:
        gap[rest], variance[rest], freedom[rest] = _welch(moments(values), first[rest], second[rest])
    error = np.sqrt(variance)
    if only_significance:
        # Student's tails are heavier than the normal's: within its bounds nothing is significant.
        return Tests(gap, np.full_like(gap, np.nan), _two_sided(gap, error, freedom, beyond=_NORMAL_BOUND), paired)
    return Tests(gap, stdtrit(freedom, 1 - ALPHA / 2) * error, _two_sided(gap, error, freedom), paired)


def moments(values: Floats) -> Moments:
    """Return count, mean and sample variance of each column, leaving out NaN; values that are all equal have none."""
    here = ~np.isnan(values)
    n = here.sum(axis=0)
    mean = np.where(here, values, 0.0).sum(axis=0) / n.clip(1)
    off = np.where(here, values - mean, 0.0)
    variance = np.square(off).sum(axis=0) / (n - 1).clip(1)
    # A mean of equal values may be off by a rounding; they have no spread for all that.
    low, high = np.fmin.reduce(values, axis=0), np.fmax.reduce(values, axis=0)
    return Moments(n, np.where(low == high, low, mean), np.where(low == high, 0.0, variance))


def holm(p: Floats) -> Floats:
    """Return p values corrected for being many: the smallest chance of any false finding at which each is one.

    NaN stands for no test, and stays.
    """
    adjusted = np.full_like(p, np.nan)
    tested = np.flatnonzero(~np.isnan(p))
    order = tested[np.argsort(p[tested], kind="stable")]
    left = np.arange(len(order), 0, -1)
    adjusted[order] = np.maximum.accumulate((left * p[order]).clip(max=1.0))
    return adjusted


def _paired(values: Floats, first: Indices, second: Indices) -> tuple[Floats, Floats, Floats, NDArray[np.bool_]]:
    """Return mean, squared standard error and degrees of freedom of shared seeds' differences.

    The last is where two seeds or more are shared; all else means nothing elsewhere.
    """
    step = max(1, _MOST_VALUES // max(1, len(values)))
    parts = [slice(start, start + step) for start in range(0, max(1, len(first)), step)]
    found = [moments(values[:, first[part]] - values[:, second[part]]) for part in parts]
    n, mean = np.concatenate([each.n for each in found]), np.concatenate([each.mean for each in found])
    return mean, np.concatenate([each.variance for each in found]) / n.clip(1), n - 1.0, n > 1


def _welch(rows: Moments, first: Indices, second: Indices) -> tuple[Floats, Floats, Floats]:
    """Return the difference of means, its squared standard error and Welch's degrees of freedom (eq. 28).

    NaN where either side has fewer than two values.
    """
    n, m = rows.n[first], rows.n[second]
    a, b = rows.variance[first] / n.clip(1), rows.variance[second] / m.clip(1)
    total = np.where(a + b > 0, a + b, 1.0)
    # By their shares, because squares of variances may vanish.
    inverse = (a / total) ** 2 / (n - 1).clip(1) + (b / total) ** 2 / (m - 1).clip(1)
    unknown = np.where((n > 1) & (m > 1), 0.0, np.nan)
    gap = rows.mean[first] - rows.mean[second]
    return gap + unknown, a + b + unknown, 1 / np.where(inverse > 0, inverse, 1.0)


def _two_sided(gap: Floats, error: Floats, freedom: Floats, beyond: float = 0.0) -> Floats:
    """Return p; without any spread 1 where there is no difference, else 0.

    Args:
        beyond: the least |t| for which it is computed; 1 below.
    """
    still = error == 0
    t = np.abs(gap) / np.where(still, 1.0, error)
    p = np.where(still & (gap != 0), 0.0, np.where(np.isnan(t), np.nan, 1.0))
    far = np.flatnonzero((t >= beyond) & ~still)
    p[far] = 2 * stdtr(freedom[far], -t[far])
    return p


def _scaled(samples: Sequence[Sample]) -> tuple[Floats, float]:
    """Return a matrix of seeds by rows, of about 1 so that squares are finite, and the power of two it was divided by.

    NaN stands where a row lacks a seed.
    """
    place = {seed: index for index, seed in enumerate(dict.fromkeys(chain.from_iterable(samples)))}
    seeds = [place[seed] for sample in samples for seed in sample]
    rows = np.repeat(np.arange(len(samples)), [len(sample) for sample in samples])
    flat = np.array([value for sample in samples for value in sample.values()], dtype=np.float64)
    scale = ldexp(1.0, frexp(float(np.abs(flat).max(initial=0.0)) or 1.0)[1] - 1)
    values = np.full((len(place), len(samples)), np.nan)
    values[seeds, rows] = flat / scale
    return values, scale


def _finite(values: Floats, factor: Floats | float) -> list[float]:
    """Return products, no larger than a number can be: a stranger's record may hold any."""
    with np.errstate(over="ignore"):
        return np.clip(values * factor, -_LARGEST, _LARGEST).tolist()  # type: ignore[no-any-return]
