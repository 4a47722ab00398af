"""`genbench interpolate`: the way from one image to another."""

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
    images_argument,
    naming,
    refuse_beside_images,
    scale_option,
    shown_images,
    split_option,
    told_apart,
)
from genbench.comparability import plural
from genbench.errors import GenbenchError

if TYPE_CHECKING:
    from torch import Tensor

    from genbench.finished import Opened

PAIRS = 8


@click.command("interpolate")
@run_argument
@images_argument
@click.option(
    "--steps",
    type=click.IntRange(2, 64),
    default=8,
    show_default=True,
    metavar="N",
    help="Images on a way, both ends too.",
)
@click.option(
    "--pairs",
    type=click.IntRange(1, 128),
    metavar="N",
    help=f"Ways, between the data's first images.  [default: {PAIRS}]",
)
@split_option
@click.option("--prior", is_flag=True, help="Between samples from the prior instead of images.")
@click.option(
    "--linear/--spherical",
    "linear",
    default=None,
    help="Along a straight line or a great circle.  [default: linear for images, spherical for --prior]",
)
@scale_option()
@output_option("interpolations.png")
@force_option
@runs_option("Where RUN is looked for.")
@data_option
@device_option
@threads_option
def command(
    run: str | None,
    images: tuple[Path, ...],
    steps: int,
    pairs: int | None,
    split: Split | None,
    prior: bool,
    linear: bool | None,
    scale: int | None,
    output: Path,
    force: bool,
    runs: Path,
    source: Path | None,
    device: str,
    threads: int | None,
) -> None:
    """Draw the way from one of two IMAGES to the other through RUN's latent space, and the images beside its ends.

    The ends are their reconstructions. Without IMAGES each row is between two of the data's first test images, which
    follow each other; your own are treated as `genbench reconstruct` does. RUN may be left out where there is one run
    alone.

    Samples from the prior lie on a shell, which a straight line between them leaves: their way is along a great circle.
    Means of posteriors do not, and attributes are added to them in straight lines, too.
    """
    run, images = told_apart(run, images)
    form_of(output, FORMS)
    claim(output, force=force)
    _check(images, prior, pairs, split)
    check_own(images)
    with opened(run, runs, source=source, device=device, threads=threads, images=not (images or prior)) as it:
        if prior:
            tiles, captions = _between_samples(it, pairs or PAIRS, _places(steps), linear is True)
        else:
            with naming(it, "--prior draws the way between samples, which needs no encoder"):
                shown, _ = shown_images(it, images, split or "test", 2 * (pairs or PAIRS))
                tiles, captions = _between_images(it, shown, _places(steps), linear is not False)

    from genbench.images import png
    from genbench.report.pictures import enlargement, grid
    from genbench.store import write_atomic

    scale = scale or enlargement(it.data.size, len(captions))
    write_atomic(output, png(grid(tiles, len(captions), captions, scale)))
    click.echo(str(output))


def _check(images: tuple[Path, ...], prior: bool, pairs: int | None, split: Split | None) -> None:
    if images and len(images) != 2:
        raise GenbenchError(
            f"{len(images)} {plural('image', len(images))}, expected two",
            "name two images, or none for those of the data",
        )
    if images and prior:
        raise GenbenchError("--prior and images of your own exclude each other", "leave one of them out")
    if prior and split is not None:
        raise GenbenchError("--prior and --split exclude each other", "leave one of them out")
    refuse_beside_images(images, pairs=pairs, split=split)


def _places(steps: int) -> "Tensor":
    import torch

    return torch.linspace(0, 1, steps, dtype=torch.float64)


def _between_samples(it: "Opened", pairs: int, places: "Tensor", linear: bool) -> "tuple[Tensor, tuple[str, ...]]":
    """Return ways between samples row by row, uint8 (N, C, H, W), and the names of the columns."""
    latents = it.context.prior(2 * pairs, "interpolation")
    return _ways(it, latents[0::2], latents[1::2], places, linear).flatten(0, 1), _percent(places)


def _between_images(it: "Opened", images: "Tensor", places: "Tensor", linear: bool) -> "tuple[Tensor, tuple[str, ...]]":
    """Return ways between images and those that follow them, between the two, as `_between_samples` does."""
    import torch

    even = len(images) // 2 * 2
    if not even:
        raise GenbenchError("one image alone, expected two", "name two images, or choose another --split")
    starts, ends = images[0:even:2], images[1:even:2]
    latents = it.context.encode(images[:even]).mean
    ways = _ways(it, latents[0::2], latents[1::2], places, linear)
    rows = torch.cat([starts[:, None], ways, ends[:, None]], 1)
    return rows.flatten(0, 1), ("input", *_percent(places), "input")


def _ways(it: "Opened", starts: "Tensor", ends: "Tensor", places: "Tensor", linear: bool) -> "Tensor":
    """Return what is decoded on the ways between latents (N, latent_size), uint8 (N, T, C, H, W) on the CPU."""
    from genbench.evaluate.paths import great_circle, straight
    from genbench.images import to_uint8

    points = (straight if linear else great_circle)(starts, ends, places)
    decoded = to_uint8(it.context.decode(points.flatten(0, 1).float())).cpu()
    return decoded.reshape(*points.shape[:2], *decoded.shape[1:])


def _percent(places: "Tensor") -> tuple[str, ...]:
    return tuple(f"{place:.0%}" for place in places.tolist())
