"""The similarity matrix: what models were trained with, by what judges them. Pure, and imports no torch.

Of one model with the same networks, data and settings, only the similarity differs between rows; columns are the
scores `similarity-NAME`. A similarity that wins only where it judges itself has shown nothing.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from genbench.cells import Column
from genbench.comparability import differing, flat, grouped, listed, short_path, shown
from genbench.compare import Row, Table, leaderboard
from genbench.digest import NOT_OF_A_ROW
from genbench.errors import GenbenchError
from genbench.selection import View

if TYPE_CHECKING:
    from genbench.digest import Digest

JUDGED = "similarity-"
"""How the names of scores begin that are a similarity's."""

RATE = "kl"
"""The score of how many nats the latents tell."""

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
    compared = [d for d in digests if d.run.similarity]
    by_host = grouped(compared, lambda d: (d.data.name, d.data.size, d.data.fingerprint, d.run.model, _host(d)))
    hosts = [_judged(runs) for runs in by_host.values()]
    several = [runs for runs in hosts if len({d.run.similarity for d in runs if _is_judged(d)}) > 1]
    if not several:
        raise GenbenchError(
            "no runs make a matrix: that takes two similarities or more in one model, and scores under each",
            "such as `genbench evaluate --evaluators similarity:mse,similarity:l1`, or `genbench suite similarity`",
        )
    settings = _told_apart([runs[0] for runs in several])
    tables = [_matrix(runs, told) for runs, told in zip(several, settings, strict=True)]
    return tuple(sorted(tables, key=lambda table: table.heading))


def _judged(digests: "Sequence[Digest]") -> "list[Digest]":
    """Return the runs of all rows that are judged at all, and those that were lost, which are told."""
    rows = {d.row_key for d in digests if _is_judged(d)}
    return [d for d in digests if d.row_key in rows or d.status != "ok"]


def _is_judged(digest: "Digest") -> bool:
    return any(score.name.startswith(JUDGED) for score in digest.scores)


def _host(digest: "Digest") -> str:
    """Return all of a run's configuration that rows of one matrix share."""
    return json.dumps(_shared(digest.config), sort_keys=True)


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
    # Beside them the rate, where it is known: more nats buy a smaller cost under any measure.
    rate = (RATE,) if any(score.name == RATE for digest in digests for score in digest.scores) else ()
    (table,) = leaderboard(digests, view=View(metrics=(f"{JUDGED}*", *rate)))
    rows = tuple(_with_own(row, table.columns) for row in table.rows)
    heading = " ".join(part for part in (f"{digests[0].run.model} on {table.heading}", settings) if part)
    notes = (_READING, *_verdicts(rows, table.columns), *table.notes)
    return replace(table, heading=heading, rows=rows, notes=notes)


def _with_own(row: Row, columns: Sequence[Column]) -> Row:
    """Mark the cells where a similarity judges what was trained with it."""
    cells = tuple(
        replace(cell, own=True) if cell and _is_own(row, column) else cell
        for cell, column in zip(row.cells, columns, strict=True)
    )
    return replace(row, cells=cells)


def _is_own(row: Row, column: Column) -> bool:
    """Whether a column's similarity is the row's, and has its settings as far as the protocol names them."""
    part = row.config.get("similarity")
    settings = part.get("settings") if isinstance(part, Mapping) else None
    told = flat(settings) if isinstance(settings, Mapping) else {}
    return column.name == f"{JUDGED}{row.similarity}" and all(
        column.protocol.get(f"similarity_{key}", value) == value for key, value in told.items()
    )


def _verdicts(rows: Sequence[Row], columns: Sequence[Column]) -> list[str]:
    """Say of each row under which measures none is better, and of all that don't win under their own."""
    judging = [i for i, column in enumerate(columns) if column.name.startswith(JUDGED)]
    columns = [columns[i] for i in judging]
    rows = [replace(row, cells=tuple(row.cells[i] for i in judging)) for row in rows]
    there = [cell for row in rows for cell in row.cells if cell]
    if not any(cell.rank for cell in there):
        if all(cell.n == 1 for cell in there):
            return ["one seed of each: nothing is told from chance"]
        return ["rows of several seeds are too few or too many to be tested: nothing is told from chance"]
    measures = [column.title.removeprefix(JUDGED) for column in columns]
    alone = [
        sum(bool(cell and cell.best) for cell in column) == 1 for column in zip(*(r.cells for r in rows), strict=True)
    ]
    lines = [line for row in rows if (line := _verdict(row, measures, alone))]
    own = [(_name(row), cell) for row in rows for cell in row.cells if cell and cell.own]
    beaten = dict.fromkeys(name for name, cell in own if (cell.rank or 1) > 1)
    level = dict.fromkeys(name for name, cell in own if not cell.best and cell.rank in (1, None))
    if beaten:
        lines.append(f"beaten under their own measure: {listed([*beaten])}")
    if level:
        lines.append(f"not told apart from others under their own measure: {listed([*level])}")
    return lines


def _verdict(row: Row, measures: Sequence[str], alone: Sequence[bool]) -> str | None:
    """Say under which measures no row is better than this one; None where there is no such measure.

    Args:
        alone: whether this holds of one row only, by column.
    """
    judged = [(name, cell, sole) for name, cell, sole in zip(measures, row.cells, alone, strict=True) if cell]
    foreign = [name for name, cell, _ in judged if cell.best and not cell.own]
    at_home = [sole for _, cell, sole in judged if cell.best and cell.own]
    if foreign:
        home = "its own measure and " if at_home else ""
        return f"{_name(row)}: no row is significantly better under {home}{listed(foreign)}"
    if not at_home:
        return None
    if any((cell.rank or 1) > 1 for _, cell, _ in judged if not cell.own):
        return f"{_name(row)}: {'wins' if all(at_home) else 'is level with the best'} only under its own measure"
    abroad = "no other tells rows apart" if len(judged) > len(at_home) else "it is judged by no other"
    return f"{_name(row)}: no row is significantly better under its own measure; {abroad}"


def _name(row: Row) -> str:
    settings = " ".join(f"{key}={shown(value)}" for key, value in row.settings)
    return f"{row.similarity} {settings}".strip()
