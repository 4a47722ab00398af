"""`genbench sample`: images that a finished run makes of nothing but noise."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from genbench.cli.figure import form_of
from genbench.cli.looking import claim, claim_folder, force_option, opened, output_option, run_argument
from genbench.cli.options import data_option, device_option, runs_option, threads_option
from genbench.cli.showing import FORMS, columns_option, naming, scale_option
from genbench.errors import GenbenchError

if TYPE_CHECKING:
    from torch import Tensor

    from genbench.finished import Opened

MOST_IN_A_GRID = 4096


@click.command("sample")
@run_argument
@click.option("-n", "--count", type=click.IntRange(1), default=64, show_default=True, metavar="N", help="How many.")
@columns_option(8)
@scale_option()
@click.option(
    "--sampler",
    type=click.Choice(("prior", "gmm")),
    default="prior",
    show_default=True,
    help="Where latents come from: N(0, I), or a mixture of 10 Gaussians fitted to the encoded training images.",
)
@output_option("samples.png")
@click.option(
    "--folder",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Write single images 000000.png … there instead, any number of them.",
)
@force_option
@runs_option("Where RUN is looked for.")
@data_option
@device_option
@threads_option
@click.pass_context
def command(
    ctx: click.Context,
    run: str | None,
    count: int,
    columns: int,
    scale: int | None,
    sampler: str,
    output: Path,
    folder: Path | None,
    force: bool,
    runs: Path,
    source: Path | None,
    device: str,
    threads: int | None,
) -> None:
    """Draw samples of RUN: a folder, or a part of its path in the store; nothing where there is one run alone.

    They are the very images that its scores are of, in their order, the first of however many: other ones are had by a
    larger --count. The data set need not be there, but for --sampler gmm.
    """
    if folder is None:
        form_of(output, FORMS)
        claim(output, force=force)
        _check_count(count)
    else:
        _refuse(ctx, "output", "columns", "scale")
        claim_folder(folder, force=force)
        _check_left_over(folder, count)
    with opened(run, runs, source=source, device=device, threads=threads, images=sampler == "gmm") as it:
        batches = _samples(it, count, sampler)
        if folder is None:
            _draw(batches, output, columns, scale)
    if folder is not None:  # by now the line that tells of the data set's preparation is off the screen
        _write_each(batches, folder, count)
    click.echo(str(folder or output))


def _refuse(ctx: click.Context, *names: str) -> None:
    """Refuse options of the grid, where there is none."""
    for name in names:
        if ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            raise GenbenchError(f"--{name} and --folder exclude each other", "single images are as the model has them")


def _check_count(count: int) -> None:
    if count > MOST_IN_A_GRID:
        raise GenbenchError(
            f"{count:,} samples: a grid has {MOST_IN_A_GRID:,} at most", "--folder DIR writes any number of single ones"
        )


def _check_left_over(folder: Path, count: int) -> None:
    """Refuse a folder with images of a larger number, which would be taken for samples of this run."""
    found = [path for path in folder.glob("*.png") if re.fullmatch("[0-9]{6,}", path.stem)]
    others = sorted(path.name for path in found if int(path.stem) >= count)
    if others:
        raise GenbenchError(
            f"{folder}: {len(others)} images of something else would stay beside these, such as {others[0]}",
            "empty it, or name another folder",
        )


def _samples(it: "Opened", count: int, sampler: str) -> "Iterator[Tensor]":
    """Yield batches of samples, uint8 (N, C, H, W)."""
    from genbench.config import SamplingConfig

    with naming(it), it.context.given(SamplingConfig.model_validate({"sampler": sampler})):
        yield from it.context.samples(count)


def _draw(batches: "Iterator[Tensor]", output: Path, columns: int, scale: int | None) -> None:
    import torch

    from genbench.images import png
    from genbench.report.pictures import enlargement, grid
    from genbench.store import write_atomic

    images = torch.cat([batch.cpu() for batch in batches])
    across = min(columns, len(images))
    write_atomic(output, png(grid(images, across, scale=scale or enlargement(images.shape[3], across))))


def _write_each(batches: "Iterator[Tensor]", folder: Path, count: int) -> None:
    from genbench.report.singles import write_numbered

    with click.progressbar(length=count, label=f"writing {count:,} images", file=sys.stderr) as bar:
        for written in write_numbered(batches, folder, count):
            bar.update(written)
