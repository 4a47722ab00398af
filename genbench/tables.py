"""Leaderboards as text: numbers with the digits that mean something, Markdown, CSV and JSON. Pure, without torch.

Text for people is rounded and cleaned of control characters; CSV and JSON keep full precision.
"""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from math import log
from typing import TYPE_CHECKING

from genbench.cells import Cell, Column, decimals
from genbench.compare import Row, Table
from genbench.rows import as_csv

if TYPE_CHECKING:
    from genbench.statistics import Difference

SCHEMA = "genbench.leaderboard/2"

_CSV_HEADINGS = (
    *("dataset", "size", "channels", "fingerprint", "model", "similarity", "settings"),
    *("seeds", "ok", "diverged", "failed", "checked", "flagged"),
    *("metric", "direction", "mean", "std", "n", "half_width", "rank", "best"),
)
_CSV_DIFFERENCE = ("difference", "difference_half_width", "difference_p", "difference_paired")

_COSTS = {"images_per_s": "img/s", "train_s": "time", "peak_memory_bytes": "memory", "energy_j": "energy"}

_TESTS = "t tests at 5 %, paired by seed where both rows share two or more, else Welch's; Holm's correction over"


@dataclass(frozen=True)
class Entry:
    """The text of one cell of a grid: a value, perhaps with its spread.

    Attributes:
        strong: whether it stands out: the best of a column, or a significant difference from the baseline.
    """

    text: str
    spread: str = ""
    strong: bool = False


@dataclass(frozen=True)
class Grid:
    """A table as text; the first `labels` columns name the row."""

    labels: int
    headings: tuple[str, ...]
    rows: tuple[tuple[Entry, ...], ...]


def grid(table: Table) -> Grid:
    """Lay a table out as text."""
    settings = ("settings",) if any(row.settings for row in table.rows) else ()
    rank = ("rank",) if table.sorted_by and table.sorted_by.direction != "none" else ()
    health = ("health",) if any(row.checked for row in table.rows) else ()
    headings = ("model", "similarity", *settings, *rank, "seeds", *health, *map(heading, table.columns))
    rows = tuple(
        (
            *_labels(row, bool(settings)),
            *([Entry("–" if row.rank is None else str(row.rank))] if rank else []),
            Entry(_seeds(row)),
            *([Entry(_health(row))] if health else []),
            *_entries(table, row),
        )
        for row in table.rows
    )
    return Grid(2 + len(settings), headings, rows)


def heading(column: Column) -> str:
    """Return a column's name with an arrow that says which way is better, where any is, and its mark."""
    if column.cost:
        return _COSTS[column.name]
    arrow = {"higher": " ↑", "lower": " ↓", "none": " " if column.mark else ""}[column.direction]
    return f"{clean(column.name)}{arrow}{column.mark}"


def legend(table: Table, strong: str) -> list[str]:
    """Say what the numbers are, as far as the table has such.

    Args:
        strong: how entries that stand out are marked.
    """
    cells = [cell for row in table.rows for cell in row.cells if cell]
    found = [cell.difference for cell in cells if cell.difference]
    notes = []
    if any(cell.half_width is not None for cell in cells):
        notes.append("± 95 % interval over seeds (Student's t)")
    if table.baseline is not None:
        tested = f"; {strong} significant ({_TESTS} a column's rows)" if any(d.significant for d in found) else ""
        nothing = "; none is significant" if found and not tested and any(d.p is not None for d in found) else ""
        notes.append(f"differences from {table.baseline}{tested}{nothing}")
    elif any(cell.best for cell in cells):
        notes.append(f"{strong} no row is significantly better ({_TESTS} a column's pairs)")
    elif any(cell.rank is not None for cell in cells):
        notes.append(f"no row is significantly better than another in any column ({_TESTS} a column's pairs)")
    if table.sorted_by:
        notes.append(_sorting(table.sorted_by))
    return notes


def entry(cell: Cell | None) -> Entry:
    """Return mean and half-width with two significant digits of the latter, or four of the mean where there is none."""
    if cell is None:
        return Entry("–")
    text, spread = _number(cell.mean, cell.half_width)
    if cell.own:
        text, spread = (f"[{text}", f"{spread}]") if spread else (f"[{text}]", spread)
    return Entry(text, spread, cell.best)


def duration(seconds: float) -> str:
    """Return a time as `12.3 s`, `1:02` or `1:00:02`."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, s = divmod(round(seconds), 60)
    hours, m = divmod(minutes, 60)
    return f"{hours}:{m:02}:{s:02}" if hours else f"{m}:{s:02}"


def clean(text: str) -> str:
    """Return text on one line without control characters, which a stranger's record may hold."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def markdown(tables: Sequence[Table]) -> str:
    """Return GitHub's Markdown; the best of each column in bold."""
    return "\n".join(_markdown_table(table) for table in tables)


def csv_text(tables: Sequence[Table]) -> str:
    """Return one line for each row and column, costs among them, at full precision; empty without a value.

    Differences have columns where a table has a baseline.
    """
    lines: list[list[object]] = []
    differences = any(table.baseline is not None for table in tables)
    for table in tables:
        protocols = [json.dumps(column.protocol, sort_keys=True) for column in table.columns]
        for row in table.rows:
            start = _csv_start(table, row)
            for column, protocol, cell in zip(table.columns, protocols, row.cells, strict=True):
                difference = _csv_difference(cell) if differences else ()
                line = (*start, column.name, column.direction, *_csv_cell(cell), *difference, protocol)
                lines.append([clean(value) if isinstance(value, str) else value for value in line])
    return as_csv((*_CSV_HEADINGS, *(_CSV_DIFFERENCE if differences else ()), "protocol"), lines)


def json_text(tables: Sequence[Table]) -> str:
    """Return everything that the tables hold, at full precision."""
    value = {"schema": SCHEMA, "tables": [_json_table(table) for table in tables]}
    return json.dumps(value, indent=1, allow_nan=False) + "\n"


def _labels(row: Row, with_settings: bool) -> list[Entry]:
    settings = " ".join(f"{key}={'–' if value is None else value}" for key, value in row.settings)
    model = f"{clean(row.model)} (baseline)" if row.baseline else clean(row.model)
    return [
        Entry(model),
        Entry(clean(row.similarity or "–")),
        *([Entry(clean(settings))] if with_settings else []),
    ]


def _entries(table: Table, row: Row) -> Iterable[Entry]:
    for column, cell in zip(table.columns, row.cells, strict=True):
        if cell is None:
            yield Entry("–")
        elif table.baseline is None:
            yield _cost(column.name, cell) if column.cost else entry(cell)
        elif row.baseline:
            plain = replace(cell, best=False)  # what stands out here is a difference
            yield _cost(column.name, plain) if column.cost else entry(plain)
        else:
            yield _difference(column, cell.difference) if cell.difference else Entry("–")


def _difference(column: Column, difference: "Difference") -> Entry:
    value, sign = difference.value, "+" if difference.value > 0 else ""
    if column.cost:
        return Entry(f"{'-' if value < 0 else sign}{amount(column.name, abs(value))}", "", difference.significant)
    text, spread = _number(value, difference.half_width)
    return Entry(f"{sign}{text}", spread, difference.significant)


def _number(value: float, half_width: float | None) -> tuple[str, str]:
    """Return a number and its half-width with two significant digits of the latter, or four of it without one."""
    places = decimals(value, half_width)
    scientific = value != 0 and not 1e-4 <= max(abs(value), half_width or 0) < 1e7
    text = _scientific(value, places) if scientific else _fixed(value, places)
    if half_width is None:
        return text, ""
    spread = "0" if half_width == 0 else _fixed(half_width, places)
    if half_width and (scientific or not float(spread)):
        spread = f"{half_width:.1e}"
    return text, f"±{spread}"


def _cost(name: str, cell: Cell) -> Entry:
    return Entry(amount(name, cell.mean), "", cell.best)


def amount(name: str, value: float) -> str:
    """Return a cost, by its name among `COSTS`, in the unit that fits."""
    if name == "train_s":
        return duration(value)
    if name == "images_per_s":
        return _fixed(value, max(0, decimals(value, None)))
    if name == "peak_memory_bytes":
        return _prefixed(value, 1024, ("B", "KiB", "MiB", "GiB", "TiB"))
    return _prefixed(value, 1000, ("J", "kJ", "MJ", "GJ"))


def _prefixed(value: float, step: int, units: Sequence[str]) -> str:
    """Return a quantity to three digits, in the largest of its units of which it has one."""
    power = min(len(units) - 1, int(log(max(value, 1), step) + 1e-9))
    scaled = value / step**power
    if scaled >= 1e6:
        return f"{scaled:.2e} {units[power]}"
    return f"{_fixed(scaled, max(0, decimals(scaled, None) - 1) if power else 0)} {units[power]}"


def _sorting(column: Column) -> str:
    if column.direction == "none":
        return f"sorted by {column.title}, the least first: neither way is better"
    return f"rank by {column.title}: 1 and the number of rows that are significantly better"


def _seeds(row: Row) -> str:
    if row.ok == len(row.seeds):
        return str(row.ok)
    bad = [f"{count} {what}" for count, what in ((row.diverged, "diverged"), (row.failed, "failed")) if count]
    return f"{row.ok} of {len(row.seeds)}; {', '.join(bad)}"


def _health(row: Row) -> str:
    if not row.checked:
        return "–"
    return f"{row.flagged} of {row.checked} flagged" if row.flagged else "ok"


def _fixed(value: float, places: int) -> str:
    if abs(value) >= 1e300:  # rounding could go beyond the largest number there is
        return f"{value:.{max(0, places)}f}"
    return f"{round(value, places) + 0.0:.{max(0, places)}f}"  # + 0.0 makes -0.0 into 0.0


def _scientific(value: float, places: int) -> str:
    exponent = int(f"{value:e}".partition("e")[2])
    return f"{value:.{max(0, places + exponent)}e}"


def _markdown_table(table: Table) -> str:
    text = grid(table)
    names = "|".join([" :-- "] * text.labels)
    numbers = "|".join([" --: "] * (len(text.headings) - text.labels))
    lines = [
        f"### {_escaped(table.heading)}",
        "",
        _markdown_line(map(_escaped, text.headings)),
        f"|{names}|{numbers}|",
        *(_markdown_line(map(_markdown_entry, row)) for row in text.rows),
        "",
        *(f"- {_escaped(note)}" for note in (*legend(table, "bold:"), *table.notes)),
    ]
    return "\n".join(lines).rstrip() + "\n"


def _markdown_line(texts: "map[str]") -> str:
    return f"| {' | '.join(texts)} |"


def _markdown_entry(value: Entry) -> str:
    text = _escaped(value.text)
    return f"{f'**{text}**' if value.strong else text} {_escaped(value.spread)}".rstrip()


def _escaped(text: str) -> str:
    return re.sub(r"([\\`*_|<>\[\]])", r"\\\1", clean(text))


def _csv_start(table: Table, row: Row) -> list[object]:
    return [
        *(table.dataset, table.size, table.channels, table.fingerprint, row.model, row.similarity or ""),
        *(json.dumps(dict(row.settings)), len(row.seeds), row.ok, row.diverged, row.failed, row.checked, row.flagged),
    ]


def _csv_cell(cell: Cell | None) -> tuple[object, ...]:
    if cell is None:
        return ("", "", 0, "", "", "")
    return (cell.mean, cell.std, cell.n, cell.half_width, cell.rank, str(cell.best).lower())


def _csv_difference(cell: Cell | None) -> tuple[object, ...]:
    found = cell.difference if cell else None
    if found is None:
        return ("", "", "", "")
    return (found.value, found.half_width, found.p, str(found.paired).lower())


def _json_table(table: Table) -> dict[str, object]:
    return {
        **_shallow(table),
        "columns": [_json_column(column) for column in table.columns],
        "rows": [_json_row(row) for row in table.rows],
        "sorted_by": table.sorted_by and _json_column(table.sorted_by),
    }


def _json_column(column: Column) -> dict[str, object]:
    return {**_shallow(column), "differs": dict(column.differs)}


def _json_row(row: Row) -> dict[str, object]:
    return {**_shallow(row), "settings": dict(row.settings), "cells": [cell and asdict(cell) for cell in row.cells]}


def _shallow(value: "Table | Column | Row") -> dict[str, object]:
    return {field.name: getattr(value, field.name) for field in fields(value)}
