"""`genbench figure`: pictures of finished runs."""

from collections.abc import Sequence
from pathlib import Path

import click

from genbench.cli.options import runs_option
from genbench.cli.output import print_warnings
from genbench.comparability import plural
from genbench.errors import GenbenchError, did_you_mean

FORMS = ("svg", "pdf", "png")


@click.group("figure", no_args_is_help=False)
def command() -> None:
    """Draw a figure of finished runs."""


@command.command("rate-distortion")
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path))
@runs_option("The store to read where no PATHS are given.")
@click.option("--metric", default="mse", show_default=True, metavar="NAME", help="What is drawn against the rate.")
@click.option("--where", "conditions", multiple=True, metavar="'KEY OP VALUE'", help="As in `genbench compare`.")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), required=True, help=f"The picture: .{', .'.join(FORMS)}."
)
def rate_distortion(
    paths: tuple[Path, ...], runs: Path, metric: str, conditions: tuple[str, ...], output: Path
) -> None:
    """Draw a metric against the rate of all runs in PATHS: stores, run folders, record.json files or exported records.

    The rate is the score `kl` (evaluator `rate`). Runs that differ in kl_weight, similarity_weight or gamma alone make
    a curve; error bars are 95 % intervals over seeds.
    """
    from genbench.exchange import no_records, read_all
    from genbench.report.rate_distortion import diagrams, draw
    from genbench.selection import condition, narrowed
    from genbench.store import write_atomic
    from genbench.tables import clean

    form = form_of(output)
    places = paths or (runs,)
    digests, problems = read_all(places)
    print_warnings(problems)
    if not digests:
        raise no_records(places, problems)
    kept, missing = narrowed(digests, [condition(text) for text in conditions])
    print_warnings(missing)
    found = diagrams(kept, metric)
    if len(found) > 1:
        headings = ", ".join(diagram.heading for diagram in found)
        raise GenbenchError(f"runs on {len(found)} data sets: {headings}", "choose one by --where dataset=NAME")
    write_atomic(output, draw(found[0], form))
    for curve in found[0].curves:
        click.echo(f"{clean(curve.label)}: {len(curve.points)} {plural('point', len(curve.points))}")
    click.echo(str(output))


def form_of(output: Path, forms: Sequence[str] = FORMS) -> str:
    """Return the form that a picture's file name asks for.

    Raises:
        GenbenchError: it is none of those that there are.
    """
    form = output.suffix.removeprefix(".").lower()
    if form not in forms:
        raise GenbenchError(
            f"{output}: can't draw {output.suffix or 'a file without an ending'}",
            did_you_mean(form, forms) or f"endings are .{', .'.join(forms)}",
        )
    return form
