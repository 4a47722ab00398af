"""`genbench reconstruct`: images, and what a finished run makes of them."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from genbench.cli.figure import form_of
from genbench.cli.looking import claim, force_option, opened, output_option, run_argument
from genbench.cli.options import data_option, device_option, runs_option, threads_option
from genbench.cli.showing import (
    FORMS,
    Split,
    check_own,
    columns_option,
    count_option,
    images_argument,
    naming,
    refuse_beside_images,
    scale_option,
    shown_images,
    split_option,
    told_apart,
)
from genbench.comparability import plural

if TYPE_CHECKING:
    from genbench.evaluate.restoring import Restored
    from genbench.finished import Opened

COUNT, MOST = 32, 4096


@click.command("reconstruct")
@run_argument
@images_argument
@count_option(MOST, COUNT, "How many of the data's images, the first of them.")
@split_option
@columns_option(8)
@scale_option()
@output_option("reconstructions.png")
@force_option
@runs_option("Where RUN is looked for.")
@data_option
@device_option
@threads_option
def command(
    run: str | None,
    images: tuple[Path, ...],
    count: int | None,
    split: Split | None,
    columns: int,
    scale: int | None,
    output: Path,
    force: bool,
    runs: Path,
    source: Path | None,
    device: str,
    threads: int | None,
) -> None:
    """Draw IMAGES, each over what RUN makes of it: decoded from the mean of its posterior.

    Without IMAGES they are the data's first test images. Your own may be of any size and mode: they are turned upright,
    put on white where transparent, cropped to the middle square and resized; the data set need not be there. RUN may be
    left out where there is one run alone.

    The numbers are written beside the picture, as CSV: for each image, from left to right and top to bottom, its mean
    squared error (pixels in [0, 1], as the score mse has it) and the KL divergence of its posterior in nats.
    """
    run, images = told_apart(run, images)
    form_of(output, FORMS)
    table = output.with_suffix(".csv")
    for path in (output, table):
        claim(path, force=force)
    refuse_beside_images(images, count=count, split=split)
    check_own(images)
    with opened(run, runs, source=source, device=device, threads=threads, images=not images) as it:
        restored = _restored(it, images, split or "test", count or COUNT)

    from genbench.images import png
    from genbench.report.pictures import enlargement, over
    from genbench.store import write_atomic

    drawn = len(restored.names)
    across = min(columns, drawn)
    scale = scale or enlargement(it.data.size, across)
    write_atomic(output, png(over(restored.images, restored.reconstructions, across, scale)))
    write_atomic(table, restored.csv())
    click.echo(f"mean squared error {restored.errors.mean().item():.4g} of {drawn} {plural('image', drawn)}")
    click.echo(str(table))
    click.echo(str(output))


def _restored(it: "Opened", images: tuple[Path, ...], split: Split, count: int) -> "Restored":
    from genbench.evaluate.restoring import restore_images

    with naming(it):
        return restore_images(it.context, *shown_images(it, images, split, count))
