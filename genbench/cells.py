"""The cells of a leaderboard: values of runs become columns, columns become means with intervals and ranks. Pure.

`genbench.statistics` brings SciPy, which takes longer to import than a small leaderboard to print, so that it is
imported where a row has several seeds and not before.
"""

import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import fsum, sqrt
from statistics import mean, stdev
from typing import TYPE_CHECKING

from genbench.comparability import Group, differing, grouped

if TYPE_CHECKING:
    from genbench.digest import CostDigest, Digest, ScoreDigest
    from genbench.records import Scalar
    from genbench.schema import Direction
    from genbench.statistics import Difference, Standing

_SUPERSCRIPTS = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")

MOST_RANKED = 100
"""Rows of a column up to which each is tested against each other: pairs grow as the square, and so does what Holm's
correction asks of each."""

Sample = dict[int, float]
"""One row's values in a column, by seed."""


@dataclass(frozen=True)
class Column:
    """One score under one protocol, or one cost.

    Attributes:
        mark: superscript that tells columns of one name apart, or empty.
        differs: what of the protocol is not alike in all columns of this name; None also where it lacks the key.
        cost: whether it is what runs took, and not how good they are; it has no protocol then.
    """

    name: str
    direction: "Direction"
    protocol: "Mapping[str, Scalar]" = field(default_factory=dict)
    mark: str = ""
    differs: "tuple[tuple[str, Scalar], ...]" = ()
    cost: bool = False

    @property
    def title(self) -> str:
        """Return its name inside a sentence."""
        return f"{self.name}{self.mark}"


@dataclass(frozen=True)
class Cell:
    """One score of one configuration.

    Attributes:
        mean: over seeds.
        std: sample standard deviation over seeds (n - 1), or None for one seed.
        n: seeds that have this score.
        half_width: of the mean's 95 % t interval, or None for one seed.
        rank: 1 and the number of rows that are significantly better; None where that can't be told.
        best: whether no row is significantly better, where the column tells any two rows apart.
        difference: from the baseline, where there is one; None in its own cells.
        own: whether a similarity judges here what was trained with it; in matrices alone.
    """

    mean: float
    std: float | None
    n: int
    half_width: float | None = None
    rank: int | None = None
    best: bool = False
    difference: "Difference | None" = None
    own: bool = False


@dataclass(frozen=True)
class Measured:
    """A column with its values: by row, then by seed; rows without any are not there."""

    column: Column
    samples: dict[int, Sample]


COSTS: "Mapping[str, tuple[Direction, Callable[[CostDigest], float | None]]]" = {
    "images_per_s": ("higher", lambda cost: cost.images_per_s),
    "train_s": ("lower", lambda cost: cost.train_s),
    "peak_memory_bytes": ("lower", lambda cost: cost.peak_memory_bytes or None),
    "energy_j": ("lower", lambda cost: cost.energy_j),
}
"""Costs by the name that CSV and JSON give them: which way they are better, and how a run tells them, if it does."""


def scored(groups: Sequence[Group]) -> list[Measured]:
    """Return the scores of all runs that ended well.

    Columns are in the order in which evaluators gave the scores, those of one name side by side.
    """
    found: dict[tuple[str, Direction, int], tuple[ScoreDigest, dict[int, Sample]]] = {}
    for row, seed, digest in _well(groups):
        for score in digest.scores:
            key = score.name, score.direction, score.protocol_key
            if (entry := found.get(key)) is None:
                entry = found[key] = score, {}
            entry[1].setdefault(row, {})[seed] = score.value
    by_name = grouped(found.values(), lambda entry: entry[0].name)
    return [measured for entries in by_name.values() for measured in _told_apart(entries)]


def spent(groups: Sequence[Group]) -> list[Measured]:
    """Return the costs of all runs that ended well, those alone that some run tells."""
    found = []
    for name, (direction, of) in COSTS.items():
        samples: dict[int, Sample] = {}
        for row, seed, digest in _well(groups):
            if (value := of(digest.cost)) is not None:
                samples.setdefault(row, {})[seed] = float(min(value, sys.float_info.max))
        if samples:
            found.append(Measured(Column(name, direction, cost=True), samples))
    return found


def filled(
    measured: Sequence[Measured], rows: int, *, baseline: int | None = None, costs_compare: bool = True
) -> list[list[Cell | None]]:
    """Return the cells of each column.

    Args:
        rows: of the table.
        baseline: the row that the others are held against.
        costs_compare: whether all runs were executed alike; otherwise what they cost is not ranked.
    """
    table = [_means(each, rows) for each in measured]
    if baseline is None and not any(cell and cell.n > 1 for cells in table for cell in cells):
        return table
    halves = _half_widths(table)
    return [
        _with_tests(each, cells, half, baseline, ranked=costs_compare or not each.column.cost)
        for each, cells, half in zip(measured, table, halves, strict=True)
    ]


def too_many(cells: Sequence[Cell | None]) -> bool:
    """Return whether a column has too many rows of several seeds for them to be ranked."""
    return sum(cell is not None and cell.n > 1 for cell in cells) > MOST_RANKED


def summarise(values: Sequence[float]) -> Cell | None:
    """Return mean and sample standard deviation, or None for no values; equal values have no spread at all."""
    n = len(values)
    if n < 2 or min(values) == max(values):
        return Cell(float(values[0]), 0.0 if n > 1 else None, n) if values else None
    try:
        middle = fsum(values) / n
        return Cell(middle, sqrt(fsum([(value - middle) ** 2 for value in values]) / (n - 1)), n)
    except OverflowError:  # of the largest numbers there are, which a stranger's record may hold
        return Cell(float(mean(values)), _largest(values), n)


def decimals(middle: float, spread: float | None) -> int:
    """Return how many decimals of a number are shown: two digits of the spread where there is one, else four.

    It is negative where digits before the point are not shown, and stops at eight digits of the number.
    """
    if spread and middle:
        return min(_decimals(spread, 2), _decimals(middle, 8))
    return _decimals(spread, 2) if spread else _decimals(middle, 4)


def _well(groups: Sequence[Group]) -> "Iterable[tuple[int, int, Digest]]":
    return [
        (row, digest.run.seed, digest)
        for row, group in enumerate(groups)
        for digest in group.digests
        if digest.status == "ok"
    ]


def _told_apart(entries: "Sequence[tuple[ScoreDigest, dict[int, Sample]]]") -> list[Measured]:
    """Mark columns of one name by what of their protocols is not alike."""
    ordered = sorted(entries, key=lambda entry: (json.dumps(entry[0].protocol, sort_keys=True), entry[0].direction))
    facts: list[dict[str, Scalar]] = [{**score.protocol, "direction": score.direction} for score, _ in ordered]
    keys = differing(facts)
    return [
        Measured(
            Column(
                score.name,
                score.direction,
                score.protocol,
                str(index).translate(_SUPERSCRIPTS) if keys else "",
                tuple((key, fact.get(key)) for key in keys),
            ),
            samples,
        )
        for index, ((score, samples), fact) in enumerate(zip(ordered, facts, strict=True), 1)
    ]


def _means(measured: Measured, rows: int) -> list[Cell | None]:
    cells: list[Cell | None] = [None] * rows
    for row, sample in measured.samples.items():
        cells[row] = summarise([*sample.values()])
    return cells


def _half_widths(table: Sequence[Sequence[Cell | None]]) -> list[list[float | None]]:
    from genbench.statistics import half_widths

    several = [cell for cells in table for cell in cells if cell and cell.std is not None]
    halves = iter(half_widths([cell.std or 0.0 for cell in several], [cell.n for cell in several]))
    return [[next(halves) if cell and cell.std is not None else None for cell in cells] for cells in table]


def _with_tests(
    measured: Measured, cells: list[Cell | None], halves: list[float | None], baseline: int | None, *, ranked: bool
) -> list[Cell | None]:
    from genbench.statistics import differences, standings

    places: Sequence[Standing | None] = [None] * len(cells)
    gaps: Sequence[Difference | None] = [None] * len(cells)
    samples = [measured.samples.get(row, {}) for row in range(len(cells))]
    direction = measured.column.direction
    if ranked and direction != "none" and not too_many(cells):
        places = standings(samples, direction)
    if baseline is not None:
        gaps = differences(samples, baseline)
    return [
        cell and Cell(cell.mean, cell.std, cell.n, half, place.rank if place else None, bool(place and place.best), gap)
        for cell, half, place, gap in zip(cells, halves, places, gaps, strict=True)
    ]


def _largest(values: Sequence[float]) -> float:
    try:
        return stdev(values)
    except OverflowError:
        return sys.float_info.max


def _decimals(value: float, significant: int) -> int:
    """Count decimals such that so many digits are significant after rounding."""
    return significant - 1 - int(f"{value:.{significant - 1}e}".partition("e")[2])
