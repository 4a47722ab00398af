"""`genbench new`: a plugin of one's own to start from. Imports no torch."""

import shlex
from collections.abc import Iterator
from pathlib import Path

import click

from genbench.plugins import FILE, Plugins
from genbench.scaffold.naming import PART_KINDS, Names, PartKind, check_free, check_free_package, make_names
from genbench.scaffold.packages import EXAMPLES, runs, write_file, write_package


@click.command("new")
@click.argument("kind", type=click.Choice(PART_KINDS))
@click.argument("name")
@click.option(
    "--folder", type=click.Path(path_type=Path), default=Path(), help="Where to write.  [default: the working folder]"
)
@click.option("--file", "as_file", is_flag=True, help="Write one genbenchfile.py instead, which needs no packaging.")
def command(kind: PartKind, name: str, folder: Path, *, as_file: bool) -> None:
    """Write a plugin with a KIND of your own called NAME: a small one that works, to be changed into yours.

    It is a package that can be installed, genbench-NAME, with tests that run genbench's own checks, and a README that
    leads from there to the leaderboard; with --file, one file that `genbench` finds when it is called in its folder.
    What is written is named on stdout; nothing is overwritten.
    """
    names = make_names(kind, name)
    plugins = Plugins.load(folder if as_file else None)
    check_free(plugins, names)
    if as_file:
        written, steps, place = write_file(folder, names), _after_file(folder, names), FILE
    else:
        check_free_package(plugins, names)
        written = write_package(folder, names)
        steps, place = _after_package(written, names), f"src/{names.module}/{kind}.py"
    click.echo(str(written))
    click.echo(f"{kind} `{name}`: for a start, {EXAMPLES[kind].summary}", err=True)
    click.echo(f"your own idea goes into {place}; next:", err=True)
    for step in steps:
        click.echo(f"  {step}", err=True)


def _after_package(written: Path, names: Names) -> Iterator[str]:
    yield f"cd {shlex.quote(str(written))}"
    yield 'pip install -e ".[test]"'
    yield "python -m pytest"
    yield from _to_the_leaderboard(names)


def _after_file(folder: Path, names: Names) -> Iterator[str]:
    if folder != Path():
        yield f"cd {shlex.quote(str(folder))}"
    yield from _to_the_leaderboard(names)


def _to_the_leaderboard(names: Names) -> Iterator[str]:
    yield f"genbench check {names.name}"
    yield from runs(names)
    yield "genbench compare"
