"""`genbench latents`: what the encoder makes of each latent unit."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from genbench.cli.figure import form_of
from genbench.cli.looking import claim, force_option, opened, output_option, run_argument
from genbench.cli.options import data_option, device_option, runs_option, threads_option
from genbench.cli.showing import naming
from genbench.comparability import label, plural

if TYPE_CHECKING:
    from genbench.finished import Opened
    from genbench.report.latents import LatentFacts

SHOWN = 32


@click.command("latents")
@run_argument
@output_option("latents.png")
@click.option(
    "--units",
    type=click.IntRange(1, 512),
    default=SHOWN,
    show_default=True,
    metavar="N",
    help="Histograms: of the units with the greatest KL.",
)
@force_option
@runs_option("Where RUN is looked for.")
@data_option
@device_option
@threads_option
def command(
    run: str | None,
    output: Path,
    units: int,
    force: bool,
    runs: Path,
    source: Path | None,
    device: str,
    threads: int | None,
) -> None:
    """Draw what the encoder of RUN makes of the test images, unit by unit: histograms of z ~ q(z|x) against N(0, 1).

    Above them stands the KL divergence of every unit, in nats an image; a unit is active where the variance of its mean
    over images is over 0.01. The numbers are written beside the picture, as CSV.
    """
    form = form_of(output)
    table = output.with_suffix(".csv")
    for path in (output, table):
        claim(path, force=force)
    with opened(run, runs, source=source, device=device, threads=threads) as it:
        facts = _facts(it, units)

    from genbench.report.latents import draw_latents, latents_csv
    from genbench.store import write_atomic

    write_atomic(output, draw_latents(facts, form))
    write_atomic(table, latents_csv(facts))
    count = len(facts.units)
    click.echo(f"{facts.kl:.4g} nats an image; {facts.active} of {count} {plural('unit', count)} active")
    for path in (output, table):
        click.echo(str(path))


def _facts(it: "Opened", units: int) -> "LatentFacts":
    from genbench.report.latents import latent_facts

    run, data = it.run.record.run, it.data
    with naming(it):
        posterior = it.context.posteriors("test")
    images = f"{len(posterior.mean)} test {plural('image', len(posterior.mean))}"
    heading = f"{label(run.model, run.similarity, ())}, seed {run.seed}: {images} of {data.name}, {data.size} px"
    return latent_facts(heading, posterior, it.context.seed("latents"), units)
