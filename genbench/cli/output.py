"""What commands print with: data on stdout, talk on stderr."""

import json
import os
import sys
import traceback
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from genbench.errors import GenbenchError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from genbench.plugins import Plugins


def data_console() -> "Console":
    """Return the console for results: stdout, 80 columns where that is no terminal; `NO_COLOR` is respected."""
    from rich.console import Console

    return Console(highlight=False, markup=False, emoji=False)


def make_table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[str] = ()) -> "Table":
    """Build a table of plain text whose first column never wraps.

    Args:
        right: the columns whose text stands to the right.
    """
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for index, column in enumerate(columns):
        table.add_column(
            Text(column, "dim"), justify="right" if column in right else "left", no_wrap=index == 0, overflow="fold"
        )
    for row in rows:
        table.add_row(*map(Text, row))
    return table


def print_json(value: object) -> None:
    """Print one JSON document on stdout; a value JSON has no word for, such as a path, becomes its text."""
    click.echo(json.dumps(value, indent=2, allow_nan=False, default=str))


def print_error(error: GenbenchError) -> None:
    """Print `error: ...` and `hint: ...` on stderr."""
    _say("error", error.message, "red")
    if error.hint:
        _say("hint", error.hint, "cyan")


def print_warning(message: str, hint: str | None = None) -> None:
    """Print `warning: ...` and `hint: ...` on stderr."""
    _say("warning", message, "yellow")
    if hint:
        _say("hint", hint, "cyan")


def print_warnings(problems: Sequence[str]) -> None:
    """Print a warning for each line of what a stranger's records may have brought."""
    from genbench.tables import clean

    for problem in problems:
        print_warning(clean(problem))


def print_bug(error: BaseException) -> int:
    """Print the traceback of what should not have happened, then what it means, and return the exit status."""
    traceback.print_exception(error)
    message = f"unexpected {type(error).__name__}: this is a bug in genbench or in a plugin"
    print_error(GenbenchError(message, "report it with the lines above and the command that you gave"))
    return 1


def warn_of_broken(plugins: "Plugins") -> None:
    """Print one line for each plugin that is broken and for each name that can't be used."""
    for plugin in plugins.broken:
        print_warning(f"plugin {plugin.title} is broken: {plugin.problem}")
    warn_of_clashes(plugins)


def warn_of_clashes(plugins: "Plugins") -> None:
    """Print one line for each name that can't be used, because more than one plugin declares it."""
    for clash in plugins.clashes():
        print_warning(clash.message, clash.hint)


def _say(label: str, text: str, colour: str) -> None:
    coloured = sys.stderr.isatty() and not os.environ.get("NO_COLOR")
    # What is told of may be a stranger's, such as the name of a file: no terminal is to obey it.
    shown = "".join(c if c.isprintable() or c == "\n" else " " for c in text)
    click.echo(f"{click.style(f'{label}:', fg=colour, bold=True) if coloured else f'{label}:'} {shown}", err=True)
