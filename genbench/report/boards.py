"""Leaderboards and similarity matrices as a page shows them: the terminal's text, and what a browser sorts by.

Pure, and imports no torch.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from genbench.cells import Column
from genbench.comparability import shown
from genbench.compare import Row, Table, leaderboard
from genbench.errors import GenbenchError
from genbench.matrix import JUDGED, matrices
from genbench.tables import Entry, grid, heading, legend

if TYPE_CHECKING:
    from genbench.digest import Digest

Way = Literal["ascending", "descending"]

STRONG = "bold:"


@dataclass(frozen=True)
class Heading:
    """What stands above a column.

    Attributes:
        better: which way is, in words; empty where neither is.
        first: the way in which it is sorted first: the best on top, where there is one.
        cost: whether it tells what runs took.
    """

    text: str
    better: str
    first: Way
    cost: bool = False


@dataclass(frozen=True)
class BoardCell:
    """One entry.

    Attributes:
        key: what it is sorted by at full precision; None comes last either way.
        own: whether a similarity judges here what was trained with it.
    """

    text: str
    spread: str
    strong: bool
    key: float | None
    own: bool = False


@dataclass(frozen=True)
class BoardRow:
    """One configuration: its name, what tells it from others of that name, and its entries."""

    name: str
    settings: tuple[tuple[str, str], ...]
    cells: tuple[BoardCell, ...]


@dataclass(frozen=True)
class Board:
    """One table.

    Attributes:
        legend: what the numbers are.
        notes: what a reader must know of them.
    """

    title: str
    headings: tuple[Heading, ...]
    rows: tuple[BoardRow, ...]
    legend: tuple[str, ...]
    notes: tuple[str, ...]


def leaderboards(digests: "Iterable[Digest]") -> tuple[Board, ...]:
    """Return the tables that `genbench compare` prints of these runs."""
    return tuple(map(_board, leaderboard(digests)))


def similarity_matrices(digests: "Sequence[Digest]") -> tuple[tuple[Board, ...], str]:
    """Return the tables that `genbench compare --matrix` prints of these runs, their measures in short.

    Returns:
        The tables; where there are none although similarities judge some of the runs, why.
    """
    if not any(score.name.startswith(JUDGED) for digest in digests for score in digest.scores):
        return (), ""
    try:
        return tuple(_in_short(_board(table)) for table in matrices(digests)), ""
    except GenbenchError as error:
        return (), error.message


def _in_short(board: Board) -> Board:
    """Leave out of the headings what all measures of a matrix are called alike."""
    return replace(board, headings=tuple(replace(h, text=h.text.removeprefix(JUDGED)) for h in board.headings))


def _board(table: Table) -> Board:
    text = grid(table)
    scores = len(text.headings) - len(table.columns)
    about = text.headings[text.labels : scores]
    headings = (
        *(Heading(name, "", "ascending" if name == "rank" else "descending") for name in about),
        *map(_heading, table.columns),
    )
    rows = tuple(_row(row, entries[text.labels :], about) for row, entries in zip(table.rows, text.rows, strict=True))
    return Board(table.heading, headings, rows, tuple(legend(table, STRONG)), table.notes)


def _heading(column: Column) -> Heading:
    better = {"higher": "higher is better", "lower": "lower is better", "none": ""}[column.direction]
    return Heading(heading(column), better, "descending" if column.direction == "higher" else "ascending", column.cost)


def _row(row: Row, entries: Sequence[Entry], about: Sequence[str]) -> BoardRow:
    of_run = {"rank": row.rank, "seeds": row.ok, "health": row.flagged if row.checked else None}
    cells = (
        *(_cell(entry, of_run[name]) for name, entry in zip(about, entries, strict=False)),
        *(
            _cell(entry, cell.mean if cell else None, own=bool(cell and cell.own))
            for entry, cell in zip(entries[len(about) :], row.cells, strict=True)
        ),
    )
    name = f"{row.model} · {row.similarity}" if row.similarity else row.model
    return BoardRow(name, tuple((key, shown(value)) for key, value in row.settings), cells)


def _cell(entry: Entry, key: float | None, *, own: bool = False) -> BoardCell:
    return BoardCell(entry.text, entry.spread, entry.strong, key, own)
