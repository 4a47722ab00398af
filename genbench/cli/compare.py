"""`genbench compare`: the leaderboard of runs on disk. Imports no torch."""

import gc
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import click
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.padding import Padding
from rich.table import Table as RichTable
from rich.text import Text

from genbench.cli.options import runs_option
from genbench.compare import Table, leaderboard
from genbench.errors import GenbenchError, did_you_mean
from genbench.records import Record
from genbench.store import read_record, scan
from genbench.tables import Entry, Grid, clean, csv_text, grid, json_text, markdown


@dataclass(frozen=True)
class _Layout:
    """How a table is made narrower.

    Attributes:
        headings: whether headings break at hyphens.
        labels: whether what names a row is stacked in one column.
        spreads: whether spreads stand below their means.
    """

    headings: bool = False
    labels: bool = False
    spreads: bool = False


_LAYOUTS = (_Layout(), _Layout(headings=True), _Layout(headings=True, spreads=True), _Layout(True, True, True))


@click.command()
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path))
@runs_option("The store to read where no PATHS are given.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "md", "csv", "json"]),
    default="table",
    show_default=True,
    help="csv and json keep full precision.",
)
@click.option("--dataset", metavar="NAME", help="Only runs on this data set.")
def compare(paths: tuple[Path, ...], runs: Path, form: str, dataset: str | None) -> None:
    """Show the leaderboard of all runs in PATHS: stores, run folders or record.json files.

    Cells are means over seeds ± their sample standard deviation. Scores with different protocols stand in different
    columns and are never ranked together. The best of a column is bold, or has a star where there is no bold; so is all
    that can't be told from it at the precision shown.
    """
    with _no_collecting():
        places = paths or (runs,)
        records = _read(places)
        tables = leaderboard(records, dataset)
        if not tables:
            raise _nothing(records, dataset, places)
        if form == "table":
            _print_tables(tables)
        else:
            write = {"md": markdown, "csv": csv_text, "json": json_text}[form]
            click.echo(write(tables), nl=False)


@contextmanager
def _no_collecting() -> Iterator[None]:
    """Let Python not look for cycles meanwhile: many records have none, and looking takes a third of the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _read(places: Sequence[Path]) -> list[Record]:
    """Read all records, warning of those that can't be read."""
    records: list[Record] = []
    problems: list[str] = []
    for place in places:
        if not place.exists():
            raise GenbenchError(f"{place}: no such file or folder", _first_run())
        if place.is_dir():
            found, trouble = scan(place)
            records += found
            problems += trouble
            continue
        try:
            records.append(read_record(place))
        except GenbenchError as error:
            problems.append(f"{error.message} ({error.hint})" if error.hint else error.message)
    for problem in problems:
        click.echo(f"warning: {clean(problem)}", err=True)
    return records


def _nothing(records: Sequence[Record], dataset: str | None, places: Sequence[Path]) -> GenbenchError:
    where = ", ".join(map(str, places))
    if not records:
        return GenbenchError(f"{where}: no finished runs", _first_run())
    known = sorted({record.run.dataset for record in records})
    guess = did_you_mean(dataset or "", known)
    return GenbenchError(f"{where}: no runs on data set `{dataset}`", guess or f"there are runs on {', '.join(known)}")


def _first_run() -> str:
    return "make one with `genbench run`, or say where runs are: `genbench compare PATH`"


def _print_tables(tables: Sequence[Table]) -> None:
    console = Console(highlight=False, markup=False, emoji=False)
    if console.no_color:
        console = Console(highlight=False, markup=False, emoji=False, color_system=None)
    stars = console.color_system is None
    for index, table in enumerate(tables):
        if index:
            console.print()
        console.print(Text(clean(table.heading), "bold"))
        text = grid(table)
        for part in _fitting(text, console, stars):
            console.print(part)
        legend = ("* best of its column",) if stars and any(e.best for row in text.rows for e in row) else ()
        for note in (*legend, *table.notes):
            console.print(Padding(Text(clean(note), "dim"), (0, 0, 0, 2)))


def _fitting(text: Grid, console: Console, stars: bool) -> list[RichTable]:
    """Return the table in the first layout that fits, else in parts side by side no wider than the terminal."""
    everything = range(text.labels, len(text.headings))
    for layout in _LAYOUTS:
        table = _rich(text, layout, everything, stars)
        if _width(table, console) <= console.width:
            return [table]
    # A table is as wide as its columns together, so that each needs to be measured but once.
    labels = _width(_rich(text, layout, (), stars), console)
    own = {index: _width(_rich(text, layout, (index,), stars), console) - labels for index in everything}
    parts: list[list[int]] = [[]]
    for index in everything:
        if parts[-1] and labels + sum(own[other] for other in parts[-1]) + own[index] > console.width:
            parts.append([])
        parts[-1].append(index)
    return [_rich(text, layout, part, stars, fold=len(part) == 1) for part in parts]


def _width(table: RichTable, console: Console) -> int:
    """Return the width that a table wants; a console would clip it to its own."""
    return table.__rich_measure__(console, console.options.update(width=10_000)).maximum


def _rich(text: Grid, layout: _Layout, columns: Sequence[int], stars: bool, *, fold: bool = False) -> RichTable:
    table = RichTable(box=SIMPLE_HEAD, show_edge=False, padding=(0, 0), pad_edge=False, header_style="bold")
    names = list(range(text.labels))
    for heading in ["\n".join(text.headings[i] for i in names[:2])] if layout.labels else text.headings[: text.labels]:
        table.add_column(Text(heading), no_wrap=not fold, overflow="fold")
    for index in columns:
        heading = _broken(text.headings[index]) if layout.headings else text.headings[index]
        table.add_column(Text(heading), no_wrap=not fold, overflow="fold", justify="right", vertical="top")
    for row in text.rows:
        labels = [row[i].text for i in names]
        stacked = (
            ["\n".join(part for label in labels for part in label.split(" ") if part != "–")]
            if layout.labels
            else labels
        )
        table.add_row(*map(Text, stacked), *(_rich_entry(row[i], layout, stars) for i in columns))
    return table


def _broken(heading: str) -> str:
    return re.sub(r"([-_]|; )(?=\w)", r"\1\n", heading)


def _rich_entry(entry: Entry, layout: _Layout, stars: bool) -> Text:
    star = "*" if entry.best and stars else ""
    text = Text(entry.text.replace("; ", "\n").replace(", ", "\n") + star, "bold" if entry.best else "")
    if entry.spread:
        text.append(("\n" if layout.spreads else " ") + entry.spread, "not bold")
    return text
