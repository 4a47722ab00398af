"""`genbench film`: samples and reconstructions over a run's training."""

from pathlib import Path

import click

from genbench.chosen import choose_run
from genbench.cli.figure import form_of
from genbench.cli.looking import claim, force_option, output_option, run_argument
from genbench.cli.options import runs_option
from genbench.errors import GenbenchError

FORMS = ("gif", "mp4")
FPS = 4


@click.command("film")
@run_argument
@output_option("film.gif")
@click.option(
    "--fps",
    type=click.IntRange(1, 60),
    default=FPS,
    show_default=True,
    metavar="N",
    help="Frames a second; 50 in a GIF.",
)
@force_option
@runs_option("Where RUN is looked for.")
def command(run: str | None, output: Path, fps: int, force: bool, runs: Path) -> None:
    """Film what RUN has learned, as GIF or MP4: the same samples, and the same reconstructions, as training went on.

    Its frames were taken in training, which may be under way: 24 after the first, closer together at the beginning.
    Samples are decoded from the same noise each time; reconstructions are of validation images, which stand above them.
    The last frame stays for three seconds more.
    """
    form = form_of(output, FORMS)
    claim(output, force=force)
    folder = choose_run(run, runs, ended=False)

    from genbench.report.film import animate, compose, read_frames
    from genbench.store import read_config, write_atomic

    frames = read_frames(folder, _size(read_config(folder)))
    write_atomic(output, animate(compose(frames), form, fps))
    click.echo(f"{len(frames)} frames, to {frames[-1].images_seen:,} images")
    click.echo(str(output))


def _size(config: dict[str, object]) -> int:
    dataset = config.get("dataset")
    size = dataset.get("size") if isinstance(dataset, dict) else None
    if not isinstance(size, int) or size < 1:
        raise GenbenchError("the run's config.toml tells no size of its images", "name another run")
    return size
