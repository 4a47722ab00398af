"""`genbench compare`: the leaderboard of runs on disk. Imports no torch."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from genbench.cli.options import runs_option
from genbench.cli.output import print_warnings
from genbench.errors import GenbenchError, did_you_mean

if TYPE_CHECKING:
    from genbench.digest import Digest
    from genbench.selection import View


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
@click.option(
    "--where",
    "conditions",
    multiple=True,
    metavar="'KEY OP VALUE'",
    help="Only such runs: OP is one of = != < <= > >=, KEY is model, similarity, dataset, seed, status or a setting, "
    "VALUE may be a list: 'model=vae,vaegan', 'training.images>=100000'. Several must all hold.",
)
@click.option(
    "--metrics",
    metavar="NAMES",
    help="These columns in this order, costs too, separated by commas; patterns as in `rfd-*,mse,img/s`.",
)
@click.option("--sort", metavar="METRIC", help="Best mean first, with ranks; `name` as without it.")
@click.option(
    "--baseline", metavar="ROW", help="Differences from this row, which is named by the beginning of its label."
)
@click.option(
    "--matrix",
    is_flag=True,
    help="The similarity matrix: what models were trained with, by the similarities that judge them.",
)
def compare(
    paths: tuple[Path, ...],
    runs: Path,
    form: str,
    dataset: str | None,
    conditions: tuple[str, ...],
    metrics: str | None,
    sort: str | None,
    baseline: str | None,
    matrix: bool,
) -> None:
    """Show the leaderboard of all runs in PATHS: stores, run folders, record.json files or files of exported records.

    Cells are means over seeds ± half of their 95 % interval (Student's t). Scores with different protocols stand in
    different columns and are never ranked together. Bold, or a star where there is no bold, stands where no row is
    significantly better, in columns that tell any rows apart: by t tests at 5 %, paired by seed where both rows share
    two or more, else Welch's, with Holm's correction over all pairs of a column. One seed tells nothing.
    """
    from genbench.compare import leaderboard
    from genbench.exchange import no_collecting, read_all
    from genbench.matrix import matrices
    from genbench.selection import View, condition, narrowed

    view = _view(metrics, sort, baseline)
    if matrix and view != View():
        raise GenbenchError("--matrix has its own columns and order", "leave out --metrics, --sort and --baseline")
    asked = [condition(text) for text in conditions]
    with no_collecting():
        places = paths or (runs,)
        digests, problems = read_all(places)
        print_warnings(problems)
        if not any(dataset in (None, digest.run.dataset) for digest in digests):
            raise _nothing(digests, dataset, places, problems)
        kept, missing = narrowed([digest for digest in digests if dataset in (None, digest.run.dataset)], asked)
        print_warnings(missing)
        tables = matrices(kept) if matrix else leaderboard(kept, view=view)
        if form == "table":
            from genbench.cli.printing import print_tables

            print_tables(tables)
        else:
            from genbench.tables import csv_text, json_text, markdown

            write = {"md": markdown, "csv": csv_text, "json": json_text}[form]
            click.echo(write(tables), nl=False)


def _view(metrics: str | None, sort: str | None, baseline: str | None) -> "View":
    from genbench.selection import View

    names = tuple(name.strip() for name in (metrics or "").split(",") if name.strip())
    if metrics is not None and not names:
        raise GenbenchError("--metrics: names no metric", "such as `--metrics mse,fid`; leave it out for all")
    return View(names, sort, baseline)


def _nothing(
    digests: "Sequence[Digest]", dataset: str | None, places: Sequence[Path], problems: Sequence[str]
) -> GenbenchError:
    if not digests:
        from genbench.exchange import no_records

        return no_records(places, problems)
    known = sorted({digest.run.dataset for digest in digests})
    guess = did_you_mean(dataset or "", known)
    where = ", ".join(map(str, places))
    return GenbenchError(f"{where}: no runs on data set `{dataset}`", guess or f"there are runs on {', '.join(known)}")
