"""`genbench walk`: a film of a random walk through a finished run's latent space."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from genbench.cli.figure import form_of
from genbench.cli.looking import claim, force_option, opened, output_option, run_argument
from genbench.cli.options import data_option, device_option, runs_option, threads_option
from genbench.cli.showing import columns_option, scale_option
from genbench.errors import GenbenchError

if TYPE_CHECKING:
    from PIL import Image

    from genbench.finished import Opened

NEW_EACH_S = 1.0
"""Seconds in which a walk comes to an image unlike the one before."""

WIDTH = 256
"""Pixels that a film measures at least; more make a large file."""

LARGEST = 2**29
"""Pixels of all frames together, which are held in memory."""

DECODED_AT_ONCE = 1024
"""Images; bounds the memory of the device."""


@click.command("walk")
@run_argument
@click.option(
    "-n",
    "--count",
    type=click.IntRange(1, 256),
    default=16,
    show_default=True,
    metavar="N",
    help="Walks, side by side.",
)
@columns_option(4)
@click.option(
    "--frames", type=click.IntRange(2, 2000), default=120, show_default=True, metavar="N", help="Until it begins again."
)
@click.option(
    "--fps",
    type=click.IntRange(1, 120),
    default=20,
    show_default=True,
    metavar="N",
    help="Frames a second; 50 in a GIF.",
)
@scale_option(WIDTH)
@output_option("walk.gif")
@force_option
@runs_option("Where RUN is looked for.")
@data_option
@device_option
@threads_option
def command(
    run: str | None,
    count: int,
    columns: int,
    frames: int,
    fps: int,
    scale: int | None,
    output: Path,
    force: bool,
    runs: Path,
    source: Path | None,
    device: str,
    threads: int | None,
) -> None:
    """Film random walks on the shell of radius √latent_size where nearly all of RUN's prior lies, as GIF or MP4.

    They are smooth, end where they began, and come to a new image about once a second. MP4 is encoded by the program
    ffmpeg. RUN may be left out where there is one run alone; the data set need not be there.
    """
    from genbench.report.animation import FORMS, check_speed, find_ffmpeg, gif, mp4

    form = form_of(output, FORMS)
    claim(output, force=force)
    if form == "mp4":
        find_ffmpeg()
    else:
        check_speed(fps)
    with opened(run, runs, source=source, device=device, threads=threads, images=False) as it:
        scale = _scale(it, count, min(columns, count), frames, scale)
        pictures = _frames(it, count, min(columns, count), frames, fps)

    from genbench.store import write_atomic

    write_atomic(output, mp4(pictures, fps, scale) if form == "mp4" else gif(pictures, fps, scale))
    click.echo(str(output))


def _scale(it: "Opened", count: int, columns: int, frames: int, scale: int | None) -> int:
    """Return the scale of a film, which must not become too large."""
    from genbench.report.pictures import enlargement

    side = it.data.size * (scale or enlargement(it.data.size, columns, WIDTH))
    if count * frames * side**2 > LARGEST:
        raise GenbenchError(
            f"{frames} frames of {count} images of {side} pixels: too large a film",
            "ask for fewer --frames, a smaller --count, or a smaller --scale",
        )
    return side // it.data.size


def _frames(it: "Opened", count: int, columns: int, frames: int, fps: int) -> "list[Image.Image]":
    import torch

    from genbench.evaluate.paths import closed_walk
    from genbench.images import to_uint8
    from genbench.report.pictures import grid

    harmonics = max(1, round(frames / fps / NEW_EACH_S / 2))
    noise = it.context.prior(count * 2 * harmonics, "walk").reshape(count, 2 * harmonics, -1)
    latents = closed_walk(noise, frames).transpose(0, 1).flatten(0, 1).float()
    decoded = [to_uint8(it.context.decode(part)).cpu() for part in torch.split(latents, DECODED_AT_ONCE)]
    return [grid(images, columns) for images in torch.split(torch.cat(decoded), count)]
