"""`genbench curves`: the costs of training, against images seen."""

from pathlib import Path

import click

from genbench.chosen import choose_runs
from genbench.cli.figure import form_of
from genbench.cli.looking import claim, force_option, output_option
from genbench.cli.options import runs_option
from genbench.cli.output import print_warning
from genbench.comparability import plural
from genbench.errors import GenbenchError


@click.command("curves")
@click.argument("names", nargs=-1, metavar="[RUNS]...")
@output_option("curves.png")
@force_option
@runs_option("Where RUNS are looked for; all that are there, where none is named.")
def command(names: tuple[str, ...], output: Path, force: bool, runs: Path) -> None:
    """Draw what RUNS logged in training, which may be under way: prior, similarity, GAN costs, gradient norms.

    RUNS are folders, or parts of their paths in the store, and mean every run that fits: `vaegan` all seeds of all
    VAE/GANs there. Runs that differ in seed alone share a colour. The numbers are written beside the picture, as CSV.
    """
    from genbench.report.curves import curves_csv, draw_curves, read_curves
    from genbench.store import write_atomic
    from genbench.tables import clean

    form = form_of(output)
    table = output.with_suffix(".csv")
    for path in (output, table):
        claim(path, force=force)
    folders = choose_runs(names, runs)
    curves = read_curves(folders)
    for folder, curve in zip(folders, curves, strict=True):
        if not curve.rows:
            print_warning(f"{folder.path}: nothing was logged yet")
    logged = [curve for curve in curves if curve.rows]
    if not logged:
        raise GenbenchError("no curve to draw", "training logs a row every 50 steps, and at its end")
    write_atomic(output, draw_curves(logged, form))
    write_atomic(table, curves_csv(logged))
    for curve in logged:
        count = len(curve.rows)
        seen = f"{curve.rows[-1]['images_seen']:,.0f}"
        click.echo(f"{clean(curve.label)}, seed {curve.seed}: {count} {plural('row', count)}, to {seen} images")
    for path in (output, table):
        click.echo(str(path))
