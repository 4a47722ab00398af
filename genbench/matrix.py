"""The similarity matrix: what models were trained with, by what judges them. Pure, and imports no torch.

Of one model with the same networks, data and settings, only the similarity differs between rows; columns are the
scores `similarity-NAME`. A similarity that wins only where it judges itself has shown nothing.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from genbench.comparability import differing, flat, grouped, listed, short_path, shown
from genbench.compare import Row, Table, leaderboard
from genbench.digest import NOT_OF_A_ROW
from genbench.errors import GenbenchError
from genbench.selection import View

if TYPE_CHECKING:
    from genbench.digest import Digest

JUDGED = "similarity-"
"""How the names of scores begin that are a similarity's."""

_READING = (
    "rows were trained with a similarity, columns judge the reconstructions of test images by one; [ ] where both are "
    "the same"
)


def matrices(digests: "Iterable[Digest]") -> tuple[Table, ...]:
    """Return a matrix for each model, and for each way in which it was trained with two similarities or more.

    Ranks and ties are a leaderboard's, within the matrix.

    Raises:
        GenbenchError: there is none, and how to get one.
    """
    judged = [d for d in digests if d.run.similarity and any(s.name.startswith(JUDGED) for s in d.scores)]
    hosts = grouped(judged, lambda d: (d.data.name, d.data.size, d.data.fingerprint, d.run.model, _host(d)))
    several = [runs for runs in hosts.values() if len({d.run.similarity for d in runs}) > 1]
    if not several:
        raise GenbenchError(
            "no runs make a matrix: that takes two similarities or more in one model, and scores under each",
            "such as `genbench evaluate --evaluators similarity:mse,similarity:l1`, or `genbench suite similarity`",
        )
    settings = _told_apart([runs[0] for runs in several])
    tables = [_matrix(runs, told) for runs, told in zip(several, settings, strict=True)]
    return tuple(sorted(tables, key=lambda table: table.heading))


def _host(digest: "Digest") -> str:
    """Return all of a run's configuration that rows of one matrix share."""
    shared = {k: v for k, v in digest.config.items() if k not in NOT_OF_A_ROW and k != "similarity"}
    return json.dumps(shared, sort_keys=True)


def _told_apart(digests: "Sequence[Digest]") -> list[str]:
    """Return the settings that tell the matrices of one model apart, as text."""
    texts = {}
    for alike in grouped(range(len(digests)), lambda i: (digests[i].data.name, digests[i].run.model)).values():
        flats = [flat(_shared(digests[i].config)) for i in alike]
        keys = differing(flats)
        for index, each in zip(alike, flats, strict=True):
            texts[index] = " ".join(f"{short_path(key)}={shown(each.get(key))}" for key in keys)
    return [texts[index] for index in range(len(digests))]


def _shared(config: Mapping[str, object]) -> Mapping[str, object]:
    return {key: value for key, value in config.items() if key not in NOT_OF_A_ROW and key != "similarity"}


def _matrix(digests: "Sequence[Digest]", settings: str) -> Table:
    (table,) = leaderboard(digests, view=View(metrics=(f"{JUDGED}*",)))
    names = [column.name.removeprefix(JUDGED) for column in table.columns]
    rows = tuple(_with_own(row, names) for row in table.rows)
    heading = " ".join(part for part in (f"{digests[0].run.model} on {table.heading}", settings) if part)
    return replace(table, heading=heading, rows=rows, notes=(_READING, *_verdicts(rows, names), *table.notes))


def _with_own(row: Row, names: Sequence[str]) -> Row:
    """Mark the cells where a similarity judges what was trained with it."""
    cells = tuple(
        replace(cell, own=True) if cell and name == row.similarity else cell
        for cell, name in zip(row.cells, names, strict=True)
    )
    return replace(row, cells=cells)


def _verdicts(rows: Sequence[Row], names: Sequence[str]) -> list[str]:
    """Say of each row under which measures none is better, and of all that win only under their own."""
    if not any(cell and cell.rank for row in rows for cell in row.cells):
        return ["one seed of each: nothing is told from chance"]
    told = [(row, [name for name, cell in zip(names, row.cells, strict=True) if cell and cell.best]) for row in rows]
    lines = []
    for row, won in told:
        foreign = [name for name in won if name != row.similarity]
        if won and not foreign:
            lines.append(f"{_name(row)}: wins only under its own measure")
        elif won:
            own = "its own measure and " if row.similarity in won else ""
            lines.append(f"{_name(row)}: no row is better under {own}{listed(foreign)}")
    losers = [_name(row) for row, won in told if row.similarity in names and row.similarity not in won]
    if losers:
        lines.append(f"beaten, or not told apart from all, under their own measure: {listed(losers)}")
    return lines


def _name(row: Row) -> str:
    settings = " ".join(f"{key}={shown(value)}" for key, value in row.settings)
    return f"{row.similarity} {settings}".strip()
