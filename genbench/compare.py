"""The leaderboard: a pure function of digests. Imports no torch and does no I/O.

A cell is the mean over seeds with half of its 95 % interval. Only scores whose protocols are equal share a column.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from genbench.cells import Cell, Column, Measured, filled, scored, spent, too_many
from genbench.comparability import (
    Group,
    confounders,
    endings,
    flags,
    grouped,
    groups_of,
    in_short,
    label,
    listed,
    machines,
    unscored,
    versions,
    warnings,
    without_duplicates,
)
from genbench.selection import View, baseline_of, check, chosen, sorting

if TYPE_CHECKING:
    from genbench.digest import Digest


@dataclass(frozen=True)
class Row:
    """One configuration, apart from its seed and from what was evaluated.

    Attributes:
        settings: those that tell it from other rows of the same model and similarity, and the budget where any differ.
        seeds: all that were run, whatever became of them.
        checked: of how many seeds the health was looked at.
        flagged: in how many of those something is wrong with it.
        cells: one for each column, over the seeds that ended well; None where none of them has the score.
        config: all of it.
        rank: in the column that rows are sorted by.
        baseline: whether the other rows are held against it.
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
    config: Mapping[str, object]
    rank: int | None = None
    baseline: bool = False

    @property
    def label(self) -> str:
        """Return the row's name inside a sentence."""
        return label(self.model, self.similarity, self.settings)


@dataclass(frozen=True)
class Table:
    """All rows on one data set with one content; `heading` tells tables apart.

    Attributes:
        sorted_by: the column by whose means rows are sorted, which need not be among `columns`; None for by name.
        baseline: the label of the row that others are held against.
    """

    dataset: str
    size: int
    channels: int
    fingerprint: str
    heading: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...]
    sorted_by: Column | None = None
    baseline: str | None = None


def leaderboard(digests: "Iterable[Digest]", dataset: str | None = None, view: View | None = None) -> tuple[Table, ...]:
    """Return one table for each data set as the runs saw it, whatever the order of the digests.

    Args:
        digests: of any runs; the same run may be there twice.
        dataset: leave out all others.
        view: which columns, in which order of rows, against which baseline.

    Raises:
        GenbenchError: the view names what is in no table, or what is ambiguous in one.
    """
    kept = [digest for digest in digests if dataset in (None, digest.run.dataset)]
    by_data = grouped(kept, lambda d: (d.data.name, d.data.size, d.data.channels, d.data.fingerprint))
    alike = grouped(by_data, lambda data: data[:3])
    boards = [_board(data, [other[3] for other in alike[data[:3]]], by_data[data]) for data in sorted(by_data)]
    asked = view or View()
    check(asked, [board.columns for board in boards], [board.labels for board in boards])
    return tuple(_table(board, asked) for board in boards)


@dataclass(frozen=True)
class _Board:
    """What becomes a table.

    Attributes:
        data: name, size, channels and fingerprint.
        measured: all columns.
        duplicates: notes on runs that are left out.
    """

    data: tuple[str, int, int, str]
    heading: str
    groups: list[Group]
    measured: list[Measured]
    duplicates: list[str]

    @property
    def columns(self) -> list[Column]:
        return [measured.column for measured in self.measured]

    @property
    def labels(self) -> list[str]:
        return [group.label for group in self.groups]


def _board(data: tuple[str, int, int, str], fingerprints: Sequence[str], digests: "Sequence[Digest]") -> _Board:
    unique, duplicates = without_duplicates(digests)
    groups = groups_of(unique)
    return _Board(data, _heading(data, fingerprints), groups, [*scored(groups), *spent(groups)], duplicates)


def _heading(data: tuple[str, int, int, str], fingerprints: Sequence[str]) -> str:
    name, size, channels, fingerprint = data
    text = f"{name} {size}×{size}×{channels}"
    if len(fingerprints) == 1:
        return text
    length = next((n for n in range(8, 64) if len({f[:n] for f in fingerprints}) == len(fingerprints)), None)
    return f"{text}, content {fingerprint[:length]}"


def _table(board: _Board, view: View) -> Table:
    shown = chosen(board.columns, view.metrics)
    by, baseline = sorting(board.columns, view.sort), baseline_of(board.labels, view.baseline)
    needed = list(dict.fromkeys([*shown, *([] if by is None else [by])]))
    alike = len(machines(board.groups)) < 2
    found = filled([board.measured[i] for i in needed], len(board.groups), baseline=baseline, costs_compare=alike)
    cells = dict(zip(needed, found, strict=True))
    by_row = list(zip(*(cells[i] for i in shown), strict=True)) or [()] * len(board.groups)
    key = [None] * len(by_row) if by is None else cells[by]
    rows = [
        _row(group, by_row[i], rank=cell.rank if (cell := key[i]) else None, baseline=i == baseline)
        for i, group in enumerate(board.groups)
    ]
    columns = tuple(board.columns[i] for i in shown)
    return Table(
        *board.data,
        heading=board.heading,
        columns=columns,
        rows=tuple(rows[i] for i in _order(key, None if by is None else board.columns[by])),
        notes=tuple(_notes(board, columns, rows, view)),
        sorted_by=None if by is None else board.columns[by],
        baseline=None if baseline is None else board.labels[baseline],
    )


def _order(cells: Sequence[Cell | None], by: Column | None) -> list[int]:
    """Return the rows, best mean first, those without one last, else in the order that they have."""
    sign = -1 if by and by.direction == "higher" else 1
    return sorted(range(len(cells)), key=lambda i: (0, sign * cell.mean) if (cell := cells[i]) else (1, 0.0))


def _row(group: Group, cells: tuple[Cell | None, ...], *, rank: int | None, baseline: bool) -> Row:
    status = Counter(digest.status for digest in group.digests)
    return Row(
        group.model,
        group.similarity,
        group.settings,
        tuple(digest.run.seed for digest in group.digests),
        status["ok"],
        status["diverged"],
        status["failed"],
        sum(bool(digest.checks) for digest in group.digests),
        sum(any(check.flagged for check in digest.checks) for digest in group.digests),
        cells,
        group.config,
        rank,
        baseline,
    )


def _notes(board: _Board, columns: Sequence[Column], rows: Sequence[Row], view: View) -> list[str]:
    groups, names = board.groups, {column.name for column in columns}
    where = machines(groups) if any(column.cost for column in columns) else []
    return [
        *_column_notes(columns),
        *_few_seeds(rows, columns),
        *_missing_seeds(rows, columns),
        *_baseline_notes(rows, view),
        *confounders(groups),
        *board.duplicates,
        *endings(groups),
        *flags(groups),
        *warnings(groups, names),
        *unscored(groups),
        *([f"what runs cost is not comparable: {' / '.join(where)}"] if len(where) > 1 else []),
        *versions(groups),
        *dict.fromkeys(note for group in groups for digest in group.digests for note in digest.data.notes),
    ]


def _column_notes(columns: Sequence[Column]) -> list[str]:
    """Say what tells columns of one name apart, once for those that differ alike."""
    marked = grouped([c for c in columns if c.mark], lambda c: (c.mark, c.differs))
    return [
        f"{mark} {', '.join(c.name for c in alike)}: {', '.join(f'{k}={in_short(v)}' for k, v in differs)}"
        for (mark, differs), alike in marked.items()
    ]


def _few_seeds(rows: Sequence[Row], columns: Sequence[Column]) -> list[str]:
    """Say where nothing can be told from chance, and where nothing is tested."""
    if not any(cell for row in rows for cell in row.cells):
        return []
    single = [row for row in rows if any(row.cells) and all(cell.n == 1 for cell in row.cells if cell)]
    notes = []
    if len(single) == sum(any(row.cells) for row in rows):
        notes.append("one seed each: nothing can be told from chance; add `--seed 1`, `--seed 2`, …")
    elif single:
        notes.append(f"one seed, so no interval and no rank: {listed([row.label for row in single])}")
    if any(too_many([row.cells[i] for row in rows]) for i in range(len(columns))):
        notes.append("differences between so many rows are not tested, and rows have no ranks: narrow with --where")
    return notes


def _missing_seeds(rows: Sequence[Row], columns: Sequence[Column]) -> list[str]:
    """Say where means are over fewer seeds than the row has."""
    notes = []
    for row in rows:
        found = [(cell.n, column) for column, cell in zip(columns, row.cells, strict=True) if cell and cell.n < row.ok]
        for n, few in sorted(grouped(found, lambda pair: pair[0]).items()):
            notes.append(f"{row.label}: over {n} of {row.ok} seeds: {', '.join(column.title for _, column in few)}")
    return notes


def _baseline_notes(rows: Sequence[Row], view: View) -> list[str]:
    """Say where there is no baseline, and where differences are of other seeds or of too few."""
    if view.baseline is None:
        return []
    if not any(row.baseline for row in rows):
        return [f"no row `{view.baseline}` here: no differences from it"]
    found = [(row.label, d) for row in rows for cell in row.cells if cell and (d := cell.difference)]
    unpaired = dict.fromkeys(name for name, d in found if d.p is not None and not d.paired)
    untested = dict.fromkeys(name for name, d in found if d.p is None)
    notes = []
    if unpaired:
        notes.append(f"not paired, for want of two shared seeds (Welch's test): {listed([*unpaired])}")
    if untested:
        notes.append(f"too few seeds for a test of the difference: {listed([*untested])}")
    return notes
