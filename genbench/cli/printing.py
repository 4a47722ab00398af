"""Leaderboards on a terminal: the widest layout that fits, else parts below each other. Imports no torch.

The text is laid out here because tables of rich take a millisecond a row, and a leaderboard may have thousands.
"""

import re
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import click
from rich.cells import cell_len, chop_cells

from genbench.cli.output import data_console
from genbench.compare import Table
from genbench.tables import Entry, Grid, clean, grid, legend

_BOLD, _DIM, _PLAIN = "\x1b[1m", "\x1b[2m", "\x1b[0m"
_BREAKS = re.compile(r"(-|:|; |_(?!\d))(?=\w)")


NARROWEST = 20
"""Columns that text is laid out for at least: on fewer, and on the none that COLUMNS=0 says, nobody could read it."""


@dataclass(frozen=True)
class Terminal:
    """What text is laid out for; without colour there is no bold, and stars stand for it."""

    width: int
    colour: bool

    def bold(self, text: str) -> str:
        """Return text in bold, where there is any."""
        return f"{_BOLD}{text}{_PLAIN}" if self.colour and text else text

    def dim(self, text: str) -> str:
        """Return text in faint letters, where there are any."""
        return f"{_DIM}{text}{_PLAIN}" if self.colour and text else text


@dataclass(frozen=True)
class _Layout:
    """How a table is made narrower.

    Attributes:
        headings: whether headings break, at hyphens and the like.
        labels: whether what names a row is stacked in one column.
        spreads: whether spreads stand below their means.
    """

    headings: bool = False
    labels: bool = False
    spreads: bool = False


_LAYOUTS = (_Layout(), _Layout(headings=True), _Layout(headings=True, spreads=True), _Layout(True, True, True))


class _Text(NamedTuple):
    """Some lines, of which the first so many characters of the first are bold."""

    lines: Sequence[str]
    bold: int = 0


@dataclass(frozen=True)
class _Strip:
    """A column as text, with its width in cells of the terminal.

    Attributes:
        right: whether its lines stand to the right.
    """

    heading: Sequence[str]
    cells: Sequence[_Text]
    width: int
    right: bool = False


def print_tables(tables: Sequence[Table]) -> None:
    """Print leaderboards on stdout, as wide as the terminal is."""
    console = data_console()
    plain = console.color_system is None or console.no_color or console.legacy_windows
    terminal = Terminal(max(console.width, NARROWEST), not plain)
    for index, table in enumerate(tables):
        lines = [*([""] if index else []), terminal.bold(clean(table.heading)), *table_lines(table, terminal)]
        click.echo("\n".join(lines), color=terminal.colour)


def table_lines(table: Table, terminal: Terminal) -> Iterator[str]:
    """Yield the lines of a table and of its notes, apart from its heading."""
    text, stars = grid(table), not terminal.colour
    for strips in _fitting(text, terminal.width, stars):
        yield from _drawn(strips, terminal)
    for note in (*legend(table, "*" if stars else "bold:"), *table.notes):
        yield from (terminal.dim(f"  {line}") for line in _wrapped(clean(note), max(1, terminal.width - 2)))


def _fitting(text: Grid, width: int, stars: bool) -> list[list[_Strip]]:
    """Return the table in the first layout that fits, else in parts side by side no wider than that."""
    for layout in _LAYOUTS:
        strips: list[_Strip] = []
        total = -1
        for strip in _strips(text, layout, stars):
            strips.append(strip)
            total += strip.width + 1
            if total > width:
                break
        else:
            return [strips]
    narrowest = list(_strips(text, _LAYOUTS[-1], stars))
    return [_folded(part, width) for part in _parts(narrowest[0], narrowest[1:], width)]


def _parts(labels: _Strip, strips: Sequence[_Strip], width: int) -> list[list[_Strip]]:
    parts, total = [[labels]], labels.width
    for strip in strips:
        if len(parts[-1]) > 1 and total + 1 + strip.width > width:
            parts.append([labels])
            total = labels.width
        parts[-1].append(strip)
        total += 1 + strip.width
    return parts


def _strips(text: Grid, layout: _Layout, stars: bool) -> Iterator[_Strip]:
    names = range(text.labels)
    if layout.labels:
        yield _labels(text.headings[:2], [[word for i in names for word in _words(row[i].text)] for row in text.rows])
    else:
        yield from (_labels([text.headings[i]], [[row[i].text] for row in text.rows]) for i in names)
    for index in range(text.labels, len(text.headings)):
        title = text.headings[index]
        heading = _BREAKS.sub(r"\1\n", title).split("\n") if layout.headings else [title]
        cells = [_cell(row[index], layout, stars) for row in text.rows]
        width = max([*map(cell_len, heading), *(len(line) for cell in cells for line in cell.lines)])
        yield _Strip(heading, cells, width, right=True)


def _labels(heading: Sequence[str], names: Sequence[Sequence[str]]) -> _Strip:
    width = max([*map(cell_len, heading), *(cell_len(line) for lines in names for line in lines)])
    return _Strip(heading, [_Text(lines) for lines in names], width)


def _words(name: str) -> list[str]:
    return [] if name == "–" else name.split(" ")


def _cell(entry: Entry, layout: _Layout, stars: bool) -> _Text:
    text = f"{entry.text}*" if entry.strong and stars else entry.text
    bold = len(text) if entry.strong else 0
    if entry.spread:
        return _Text((text, entry.spread) if layout.spreads else (f"{text} {entry.spread}",), bold)
    return _Text(text.replace("; ", "\n").replace(", ", "\n").split("\n"), bold)


def _folded(strips: list[_Strip], width: int) -> list[_Strip]:
    """Break the lines of a part that is too wide, which then has one column besides its labels."""
    room = max(2, width - 1)
    if len(strips) != 2 or sum(strip.width for strip in strips) <= room:
        return strips
    labels, column = strips
    first = min(labels.width, max(room // 2, room - column.width))
    return [_narrowed(labels, first), _narrowed(column, min(column.width, room - first))]


def _narrowed(strip: _Strip, width: int) -> _Strip:
    def fold(lines: Sequence[str]) -> list[str]:
        return [part for line in lines for part in (chop_cells(line, width) if cell_len(line) > width else [line])]

    cells = [_Text(fold(cell.lines), min(cell.bold, width)) for cell in strip.cells]
    return _Strip(fold(strip.heading), cells, width, strip.right)


def _drawn(strips: Sequence[_Strip], terminal: Terminal) -> Iterator[str]:
    height = max(len(strip.heading) for strip in strips)
    headings = [[*[""] * (height - len(strip.heading)), *strip.heading] for strip in strips]
    for line in zip(*headings, strict=True):
        padded = [_padded(text, strip, text, terminal) for text, strip in zip(line, strips, strict=True)]
        yield " ".join(padded).rstrip()
    yield "─" * (sum(strip.width for strip in strips) + len(strips) - 1)
    blanks = [" " * strip.width for strip in strips]
    columns = [[_block(cell, strip, terminal) for cell in strip.cells] for strip in strips]
    for row in zip(*columns, strict=True):
        for index in range(max(map(len, row))):
            yield " ".join(
                [b[index] if index < len(b) else blank for b, blank in zip(row, blanks, strict=True)]
            ).rstrip()


def _block(cell: _Text, strip: _Strip, terminal: Terminal) -> list[str]:
    first, *rest = cell.lines or [""]
    return [_padded(first, strip, first[: cell.bold], terminal), *(_padded(line, strip, "", terminal) for line in rest)]


def _padded(text: str, strip: _Strip, bold: str, terminal: Terminal) -> str:
    """Return a line as wide as its column, with what it begins with in bold."""
    space = " " * (strip.width - (len(text) if text.isascii() else cell_len(text)))
    shown = f"{terminal.bold(bold)}{text[len(bold) :]}" if bold else text
    return f"{space}{shown}" if strip.right else f"{shown}{space}"


def _wrapped(text: str, width: int) -> list[str]:
    if cell_len(text) == len(text):
        return textwrap.wrap(text, width, break_on_hyphens=False)
    return chop_cells(text, width)  # of a script whose letters are wide, and which has no spaces to break at
