"""The leaderboard: a pure function of records. Imports no torch and does no I/O.

A cell is the mean over seeds with the sample standard deviation over seeds. Only scores whose protocols are equal
share a column.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import mean, stdev
from typing import Literal

from genbench.comparability import (
    Group,
    confounders,
    differing,
    endings,
    executions,
    flags,
    grouped,
    groups_of,
    in_short,
    label,
    unscored,
    warnings,
    without_duplicates,
)
from genbench.records import Record, Scalar, Score

Direction = Literal["higher", "lower"]

_SUPERSCRIPTS = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


@dataclass(frozen=True)
class Column:
    """One score under one protocol.

    Attributes:
        mark: superscript that tells columns of one name apart, or empty.
        differs: what of the protocol is not alike in all columns of this name; None also where it lacks the key.
    """

    name: str
    direction: Direction
    protocol: Mapping[str, Scalar]
    mark: str = ""
    differs: tuple[tuple[str, Scalar], ...] = ()


@dataclass(frozen=True)
class Cell:
    """One score of one configuration.

    Attributes:
        mean: over seeds.
        std: sample standard deviation over seeds (n - 1), or None for one seed.
        n: seeds that have this score.
        best: the best mean of its column, or not distinguishable from it at the precision shown.
    """

    mean: float
    std: float | None
    n: int
    best: bool = False


@dataclass(frozen=True)
class Row:
    """One configuration, apart from its seed and from what was evaluated.

    Attributes:
        settings: those that tell it from other rows of the same model and similarity, and the budget where any differ.
        seeds: all that were run, whatever became of them.
        checked: of how many seeds the health was looked at.
        flagged: in how many of those something is wrong with it.
        cells: one for each column; None where no seed has the score.
        images_per_s: over the seeds that ended well, as is `train_s`; None where none did.
        config: all of it.
    """

    model: str
    similarity: str | None
    settings: tuple[tuple[str, object], ...]
    seeds: tuple[int, ...]
    ok: int
    diverged: int
    failed: int
    checked: int
    flagged: int
    cells: tuple[Cell | None, ...]
    images_per_s: Cell | None
    train_s: Cell | None
    config: Mapping[str, object]

    @property
    def label(self) -> str:
        """Return the row's name inside a sentence."""
        return label(self.model, self.similarity, self.settings)


@dataclass(frozen=True)
class Table:
    """All rows on one data set with one content; `heading` tells tables apart."""

    dataset: str
    size: int
    channels: int
    fingerprint: str
    heading: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...]


def leaderboard(records: Iterable[Record], dataset: str | None = None) -> tuple[Table, ...]:
    """Return one table for each data set as the runs saw it, whatever the order of the records.

    Args:
        records: of any runs; the same run may be there twice.
        dataset: leave out all others.
    """
    kept = [record for record in records if dataset in (None, record.run.dataset)]
    by_data = grouped(kept, lambda r: (r.data.name, r.data.size, r.data.channels, r.data.fingerprint))
    alike = grouped(by_data, lambda data: data[:3])
    return tuple(
        _table(data, _heading(data, [other[3] for other in alike[data[:3]]]), by_data[data]) for data in sorted(by_data)
    )


def summarise(values: Sequence[float]) -> Cell | None:
    """Return mean and sample standard deviation, correctly rounded, or None for no values."""
    if not values:
        return None
    return Cell(float(mean(values)), stdev(values) if len(values) > 1 else None, len(values))


def decimals(cell: Cell) -> int:
    """Return how many decimals of a cell are shown: two digits of the spread where there is one, else four of the mean.

    It is negative where digits before the point are not shown, and stops at eight digits of the mean.
    """
    if cell.std and cell.mean:
        return min(_decimals(cell.std, 2), _decimals(cell.mean, 8))
    return _decimals(cell.std, 2) if cell.std else _decimals(cell.mean, 4)


def mark_best(cells: Sequence[Cell | None], direction: Direction) -> tuple[Cell | None, ...]:
    """Mark the best mean and all that are not distinguishable from it at the precision shown.

    A lone cell is not the best of anything.
    """
    present = [cell for cell in cells if cell is not None]
    if len(present) < 2:
        return tuple(cells)
    best = (max if direction == "higher" else min)(present, key=lambda cell: cell.mean)
    return tuple(cell and replace(cell, best=_tied(cell, best)) for cell in cells)


def _tied(cell: Cell, best: Cell) -> bool:
    coarser = min(decimals(cell), decimals(best))
    return round(cell.mean, coarser) == round(best.mean, coarser)


def _decimals(value: float, significant: int) -> int:
    """Count decimals such that so many digits are significant after rounding."""
    return significant - 1 - int(f"{value:.{significant - 1}e}".partition("e")[2])


def _heading(data: tuple[str, int, int, str], fingerprints: Sequence[str]) -> str:
    name, size, channels, fingerprint = data
    text = f"{name} {size}×{size}×{channels}"
    if len(fingerprints) == 1:
        return text
    length = next((n for n in range(8, 64) if len({f[:n] for f in fingerprints}) == len(fingerprints)), None)
    return f"{text}, content {fingerprint[:length]}"


def _table(data: tuple[str, int, int, str], heading: str, records: Sequence[Record]) -> Table:
    unique, notes_on_duplicates = without_duplicates(records)
    groups = groups_of(unique)
    keys = {id(s): _key(s) for group in groups for record in group.records for s in record.scores}
    columns = _columns((record for group in groups for record in group.records if record.status == "ok"), keys)
    rows = _rows(groups, columns, keys)
    notes = (
        *_column_notes(columns),
        *_missing_seeds(rows, columns),
        *confounders(groups),
        *notes_on_duplicates,
        *endings(groups),
        *flags(groups),
        *warnings(groups),
        *unscored(groups),
        *executions(groups),
        *dict.fromkeys(note for group in groups for record in group.records for note in record.data.notes),
    )
    return Table(*data, heading, columns, rows, notes)


_Key = tuple[str, Direction, frozenset[tuple[str, type, Scalar]]]


def _key(score: Score | Column) -> _Key:
    """Return what is alike for all that share a column."""
    # Beside its type, since 1 and True, as keys of a dictionary, are one.
    protocol = score.protocol
    return (
        score.name,
        score.direction,
        frozenset(zip(protocol, map(type, protocol.values()), protocol.values(), strict=True)),
    )


def _in_order(score: Score) -> tuple[str, str]:
    return json.dumps(score.protocol, sort_keys=True), score.direction


def _columns(records: Iterable[Record], key_of: Mapping[int, _Key]) -> tuple[Column, ...]:
    """Return the columns in the order in which evaluators gave the scores, those of one name side by side.

    Args:
        key_of: of each score, by its id: computing them takes most of the time.
    """
    found = {key_of[id(score)]: score for record in records for score in record.scores}
    columns = []
    for scores in grouped(found.values(), lambda score: score.name).values():
        ordered = sorted(scores, key=_in_order)
        facts: list[dict[str, Scalar]] = [score.protocol | {"direction": score.direction} for score in ordered]
        keys = differing(facts)
        for index, (score, fact) in enumerate(zip(ordered, facts, strict=True), 1):
            mark = str(index).translate(_SUPERSCRIPTS) if keys else ""
            differs = tuple((key, fact.get(key)) for key in keys)
            columns.append(Column(score.name, score.direction, score.protocol, mark, differs))
    return tuple(columns)


def _rows(groups: Sequence[Group], columns: Sequence[Column], keys: Mapping[int, _Key]) -> tuple[Row, ...]:
    index = {_key(column): i for i, column in enumerate(columns)}
    table = [_cells(group, index, keys) for group in groups]
    by_column = [mark_best(cells, c.direction) for cells, c in zip(zip(*table, strict=True), columns, strict=True)]
    return tuple(_row(group, tuple(cells[i] for cells in by_column)) for i, group in enumerate(groups))


def _cells(group: Group, index: Mapping[_Key, int], keys: Mapping[int, _Key]) -> list[Cell | None]:
    values: list[list[float]] = [[] for _ in index]
    for record in group.records:
        if record.status == "ok":
            for score in record.scores:
                values[index[keys[id(score)]]].append(score.value)
    return [summarise(each) for each in values]


def _row(group: Group, cells: tuple[Cell | None, ...]) -> Row:
    status = Counter(record.status for record in group.records)
    well = [record.cost for record in group.records if record.status == "ok"]
    return Row(
        group.model,
        group.similarity,
        group.settings,
        tuple(record.run.seed for record in group.records),
        status["ok"],
        status["diverged"],
        status["failed"],
        sum(bool(record.checks) for record in group.records),
        sum(any(check.flagged for check in record.checks) for record in group.records),
        cells,
        summarise([cost.images_per_s for cost in well]),
        summarise([cost.train_s for cost in well]),
        group.config,
    )


def _column_notes(columns: Sequence[Column]) -> list[str]:
    """Say what tells columns of one name apart, once for those that differ alike."""
    marked = grouped([c for c in columns if c.mark], lambda c: (c.mark, c.differs))
    return [
        f"{mark} {', '.join(c.name for c in alike)}: {', '.join(f'{k}={in_short(v)}' for k, v in differs)}"
        for (mark, differs), alike in marked.items()
    ]


def _missing_seeds(rows: Sequence[Row], columns: Sequence[Column]) -> list[str]:
    """Say where means are over fewer seeds than the row has."""
    notes = []
    for row in rows:
        found = [(cell.n, column) for column, cell in zip(columns, row.cells, strict=True) if cell and cell.n < row.ok]
        for n, few in sorted(grouped(found, lambda pair: pair[0]).items()):
            names = ", ".join(f"{column.name}{column.mark}" for _, column in few)
            notes.append(f"{row.label}: over {n} of {row.ok} seeds: {names}")
    return notes
