"""Leaderboards as text: numbers with the digits that mean something, Markdown, CSV and JSON. Pure, without torch.

Text for people is rounded and cleaned of control characters; CSV and JSON keep full precision.
"""

import csv
import io
import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal

from genbench.compare import Cell, Column, Row, Table, decimals

SCHEMA = "genbench.leaderboard/1"

_CSV_HEADINGS = (
    *("dataset", "size", "channels", "fingerprint", "model", "similarity", "settings"),
    *("seeds", "ok", "diverged", "failed", "checked", "flagged"),
    *("metric", "direction", "mean", "std", "n", "best", "protocol"),
)


@dataclass(frozen=True)
class Entry:
    """The text of one cell of a grid: a value, perhaps with its spread."""

    text: str
    spread: str = ""
    best: bool = False


@dataclass(frozen=True)
class Grid:
    """A table as text; the first `labels` columns name the row."""

    labels: int
    headings: tuple[str, ...]
    rows: tuple[tuple[Entry, ...], ...]


def grid(table: Table) -> Grid:
    """Lay a table out as text."""
    settings = ("settings",) if any(row.settings for row in table.rows) else ()
    health = ("health",) if any(row.checked for row in table.rows) else ()
    headings = (
        *("model", "similarity"),
        *settings,
        *("seeds", *health),
        *map(heading, table.columns),
        *("img/s", "time"),
    )
    rows = tuple(_entries(row, bool(settings), bool(health)) for row in table.rows)
    return Grid(2 + len(settings), headings, rows)


def heading(column: Column) -> str:
    """Return a column's name with an arrow that says which way is better, and its mark."""
    return f"{clean(column.name)} {'↑' if column.direction == 'higher' else '↓'}{column.mark}"


def entry(cell: Cell | None) -> Entry:
    """Return mean and spread with two significant digits of the spread, or four of the mean where there is none."""
    if cell is None:
        return Entry("–")
    places = decimals(cell)
    largest = max(abs(cell.mean), cell.std or 0)
    scientific = cell.mean != 0 and not 1e-4 <= largest < 1e7
    text = _scientific(cell.mean, places) if scientific else _fixed(cell.mean, places)
    if cell.std is None:
        return Entry(text, "", cell.best)
    spread = "0" if cell.std == 0 else _fixed(cell.std, places)
    if cell.std and (scientific or not float(spread)):
        spread = f"{cell.std:.1e}"
    return Entry(text, f"±{spread}", cell.best)


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
    """Return one line for each row and score, speed and time among them, at full precision; empty without a value."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(_CSV_HEADINGS)
    for table in tables:
        for row in table.rows:
            writer.writerows(_csv_lines(table, row))
    return out.getvalue()


def json_text(tables: Sequence[Table]) -> str:
    """Return everything that the tables hold, at full precision."""
    value = {"schema": SCHEMA, "tables": [_json_table(table) for table in tables]}
    return json.dumps(value, indent=1, allow_nan=False) + "\n"


def _entries(row: Row, with_settings: bool, with_health: bool) -> tuple[Entry, ...]:
    settings = " ".join(f"{key}={'–' if value is None else value}" for key, value in row.settings)
    return (
        Entry(clean(row.model)),
        Entry(clean(row.similarity or "–")),
        *((Entry(clean(settings)),) if with_settings else ()),
        Entry(_seeds(row)),
        *((Entry(_health(row)),) if with_health else ()),
        *map(entry, row.cells),
        Entry(_fixed(speed.mean, max(0, decimals(Cell(speed.mean, None, 1)))) if (speed := row.images_per_s) else "–"),
        Entry(duration(row.train_s.mean) if row.train_s else "–"),
    )


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
        *(f"- {_escaped(note)}" for note in table.notes),
    ]
    return "\n".join(lines).rstrip() + "\n"


def _markdown_line(texts: "map[str]") -> str:
    return f"| {' | '.join(texts)} |"


def _markdown_entry(value: Entry) -> str:
    text = f"**{value.text}**" if value.best else _escaped(value.text)
    return f"{text} {value.spread}".rstrip()


def _escaped(text: str) -> str:
    return re.sub(r"([\\`*_|<>\[\]])", r"\\\1", clean(text))


def _csv_lines(table: Table, row: Row) -> list[list[object]]:
    start = [table.dataset, table.size, table.channels, table.fingerprint, row.model, row.similarity or ""]
    start += [json.dumps(dict(row.settings)), len(row.seeds), row.ok, row.diverged, row.failed]
    start += [row.checked, row.flagged]
    lines = [
        _csv_line(start, column.name, column.direction, cell, json.dumps(column.protocol, sort_keys=True))
        for column, cell in zip(table.columns, row.cells, strict=True)
    ]
    lines.append(_csv_line(start, "images_per_s", "higher", row.images_per_s, "{}"))
    lines.append(_csv_line(start, "train_s", "lower", row.train_s, "{}"))
    return lines


def _csv_line(
    start: Sequence[object], metric: str, direction: Literal["higher", "lower"], cell: Cell | None, protocol: str
) -> list[object]:
    values = ("", "", 0, "") if cell is None else (cell.mean, cell.std, cell.n, str(cell.best).lower())
    line = [*start, metric, direction, *values, protocol]
    return [clean(value) if isinstance(value, str) else value for value in line]


def _json_table(table: Table) -> dict[str, object]:
    value = asdict(table)
    for column in value["columns"]:
        column["differs"] = dict(column["differs"])
    for row in value["rows"]:
        row["settings"] = dict(row["settings"])
    return value
