"""`genbench score`: how similarities behave on images, without training anything."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from genbench.assessing import DATASET, Place, assess, resolve_wish
from genbench.cli.figure import FORMS, form_of
from genbench.cli.options import data_option, device_option, settings_option, threads_option
from genbench.cli.output import print_bug, print_json, warn_of_broken
from genbench.isolation import Guard
from genbench.plugins import Plugins
from genbench.report.sensitivity import agreements, as_plain, details, draw, heading, in_words, overview

if TYPE_CHECKING:
    from genbench.assessing import Assessment

IMAGES = 256

Split = Literal["train", "validation", "test"]


@click.command("score")
@click.argument("names", nargs=-1, required=True)
@click.option("--dataset", metavar="NAME", help=f"[default: {DATASET}, which is drawn; with --run, its own]")
@data_option
@click.option("--size", type=click.IntRange(4, 1024), metavar="PIXELS", help="Side of the images.")
@click.option(
    "--images", type=click.IntRange(2), default=IMAGES, show_default=True, metavar="N", help="How many of them."
)
@click.option(
    "--split",
    type=click.Choice(["train", "validation", "test"]),
    default="test",
    show_default=True,
    help="Where they are drawn from.",
)
@settings_option(
    "A setting of a similarity, NAME.KEY or, where there is but one, KEY (see `genbench show NAME`); or dataset.KEY."
)
@click.option(
    "--run",
    "run",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="A finished run, whose discriminator is shown to similarities that need one.",
)
@click.option(
    "--bapps",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="Where BAPPS lies: tell how many people agree with each similarity, too.",
)
@click.option("--figure", type=click.Path(path_type=Path), metavar="FILE", help=f"Draw it: .{', .'.join(FORMS)}.")
@device_option
@threads_option
@click.option("--json", "as_json", is_flag=True, help="Print everything, at full precision, as JSON.")
def command(
    names: tuple[str, ...],
    dataset: str | None,
    source: Path | None,
    size: int | None,
    images: int,
    split: Split,
    settings: tuple[str, ...],
    run: Path | None,
    bapps: Path | None,
    figure: Path | None,
    device: str,
    threads: int | None,
    as_json: bool,
) -> int:
    """Tell how the similarities NAMES behave on images that get worse, without training anything.

    Images are blurred, shifted, turned, drained of contrast, compressed and recoloured, in steps. Costs of different
    similarities have no common scale, so each is told as the noise that costs as much; `mse` is shown beside them.
    Where a similarity needs a discriminator, it is shown the data set's reference discriminator, which is trained once,
    or that of --run.
    """
    plugins = Plugins.load()
    warn_of_broken(plugins)
    form = None if figure is None else form_of(figure)
    wish = resolve_wish(plugins, names, dataset, size, settings, run)

    # Only here, once the command is known to be right, is torch worth waiting for.
    import torch

    from genbench.bapps import find
    from genbench.cli.progress import observing
    from genbench.data.sources import cache_folder, source_folder
    from genbench.execution import choose_device
    from genbench.store import write_atomic

    if threads is not None:
        torch.set_num_threads(threads)
    triplets = () if bapps is None else find(bapps)
    with observing(warn_if_slow=False) as observer:
        place = Place(
            choose_device(device), cache_folder(), source_folder(source), observer.said, observer.preparing, print_bug
        )
        if dataset is None and run is None:
            observer.said(f"note: {DATASET} are drawn; --dataset names other images")
        with Guard() as guard:
            done = assess(plugins, wish, place, images, split, triplets)
        if guard.error is not None:
            raise guard.error
    if as_json:
        print_json(as_plain(done, wish))
    else:
        _print(done, alone=len(wish.asked) == 1)
    # Last, so that what was measured is told even where the figure can't be written.
    if figure is not None and form is not None:
        write_atomic(figure, draw(done.found, heading(done), form))
        if not as_json:
            click.echo(str(figure))
    return 1 if done.failed else 0


def _print(done: "Assessment", *, alone: bool) -> None:
    """Print tables, then what can't be had, with the reasons."""
    lines = [heading(done), "", *(details if alone else overview)(done.found)]
    if alone:
        lines += ["", *in_words(done.found)]
    if done.people is not None:
        lines += ["", *agreements(done.agreements, done.people)]
    for what, reasons in (("skipped", done.skipped), ("failed", done.failed), ("people not asked", done.unasked)):
        lines += [f"{name}: {what}: {reason}" for name, reason in reasons.items()]
    lines += [f"{name}: left out: {reason}" for name, reason in done.left_out.items()]
    click.echo("\n".join(lines))
