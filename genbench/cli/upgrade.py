"""`genbench upgrade`: records of older schemas made into those of the present one. Imports no torch."""

from pathlib import Path

import click

from genbench.cli.options import runs_option
from genbench.cli.output import print_warning
from genbench.comparability import plural
from genbench.errors import GenbenchError
from genbench.schema import SCHEMA
from genbench.tables import clean
from genbench.upgrades import Upgraded, upgrade_place


@click.command()
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path))
@runs_option("The store to upgrade where no PATHS are given.")
def upgrade(paths: tuple[Path, ...], runs: Path) -> int:
    """Rewrite the records of all runs in PATHS, stores, run folders or files of records, that an older genbench wrote.

    No number in them changes. Each file is rewritten whole or not at all; those that need nothing stay untouched.
    """
    places = paths or (runs,)
    done = Upgraded()
    for place in places:
        upgrade_place(place, done)
    problems = done.problems.lines()
    for problem in problems:
        print_warning(clean(problem))
    if not done.found and not problems:
        where = ", ".join(map(str, places))
        raise GenbenchError(f"{where}: no finished runs", "make one with `genbench run`, or say where runs are")
    for schema, count in sorted(done.found.items()):
        what = f"of {SCHEMA} already" if schema == SCHEMA else f"upgraded from {schema} to {SCHEMA}"
        click.echo(f"{count} {plural('record', count)} {what}")
    return 1 if problems else 0
