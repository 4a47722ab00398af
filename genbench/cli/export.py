"""`genbench export`: records of many runs in one file, for others to compare with. Imports no torch."""

import sys
from pathlib import Path

import click

from genbench.cli.options import runs_option
from genbench.cli.output import print_warnings
from genbench.errors import GenbenchError
from genbench.exchange import LINES_SUFFIX, export_lines, is_lines, no_records
from genbench.store import write_parts_atomic


@click.command()
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path))
@runs_option("The store to read where no PATHS are given.")
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(path_type=Path, allow_dash=True),
    metavar="FILE",
    help=f"File to write, called NAME{LINES_SUFFIX}; - for stdout.",
)
@click.option("--force", is_flag=True, help="Write over FILE.")
def export(paths: tuple[Path, ...], runs: Path, output: Path, force: bool) -> int:
    """Write the complete records of all runs in PATHS, stores, run folders or files of records, to one file.

    Each is one line of JSON. `genbench compare` reads the file as it reads a store, and together with one. The same
    records give the same file, in whatever order PATHS are; identical ones are there once. Nothing in it tells of
    folders on your disk.
    """
    if str(output) != "-":
        _check_output(output, force)
    places = paths or (runs,)
    lines, problems = export_lines(places)
    print_warnings(problems)
    if not lines:
        raise no_records(places, problems)
    parts = (f"{line}\n".encode() for line in lines)
    if str(output) == "-":
        sys.stdout.buffer.writelines(parts)
    else:
        write_parts_atomic(output, parts)
    click.echo(f"{len(lines)} records" if len(lines) > 1 else "1 record", err=True)
    return 1 if problems else 0


def _check_output(output: Path, force: bool) -> None:
    if not is_lines(output):
        raise GenbenchError(
            f"-o {output}: `genbench compare` reads such a file only by the name of NAME{LINES_SUFFIX}",
            f"-o {output.with_suffix(LINES_SUFFIX)}",
        )
    if output.is_dir():
        raise GenbenchError(f"-o {output}: is a folder", f"-o {output / f'results{LINES_SUFFIX}'}")
    if output.exists() and not force:
        raise GenbenchError(f"-o {output}: is there already", "--force writes over it")
