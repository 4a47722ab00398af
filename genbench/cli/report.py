"""`genbench report`: one page, of numbers and pictures, of finished runs."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from genbench import __version__
from genbench.cli.figure import form_of
from genbench.cli.looking import bench_at, claim, force_option, output_option
from genbench.cli.options import data_option, device_option, runs_option, threads_option
from genbench.cli.output import print_warning, print_warnings, warn_of_broken
from genbench.errors import GenbenchError

if TYPE_CHECKING:
    from genbench.report.content import Report
    from genbench.report.gathering import Board, Cover

TITLE = "Generative models, compared"
FORMS = ("html", "htm")
MANY = 50
"""Runs, of which each takes a few seconds, and up to a MB of the page."""
MOST = 1_000
"""Runs whose settings and protocols, up to 40 kB of each, browsers still open with ease."""


@click.command("report")
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path), metavar="[RUNS]...")
@output_option("report.html")
@click.option("--where", "conditions", multiple=True, metavar="'KEY OP VALUE'", help="As in `genbench compare`.")
@click.option(
    "--attributes",
    "named",
    metavar="NAMES",
    help="Edited in this order, separated by commas.  [default: what shows most]",
)
@click.option("--no-pictures", is_flag=True, help="Numbers and curves alone: no run is opened.")
@click.option("--title", default=TITLE, show_default=True, help="The page's heading.")
@force_option
@runs_option("The store to read where no RUNS are given.")
@data_option
@device_option
@threads_option
def command(
    paths: tuple[Path, ...],
    output: Path,
    conditions: tuple[str, ...],
    named: str | None,
    no_pictures: bool,
    title: str,
    force: bool,
    runs: Path,
    source: Path | None,
    device: str,
    threads: int | None,
) -> None:
    """Write a page about all runs in RUNS: stores, run folders, record.json files or files of exported records.

    It holds the leaderboard and the similarity matrix, samples, reconstructions and edits of the same test images by
    every model, curves, latent units, and each run's settings, cost and protocols; and it opens from the disk, without
    a network. What can't be shown of a run, such as pictures where only its record is there, is said with the reason.
    """
    from genbench.exchange import no_records
    from genbench.report.gathering import Cover, NoPictures, gather, read_boards
    from genbench.report.page import render
    from genbench.selection import condition
    from genbench.store import write_atomic

    attributes = _attributes(named)
    if no_pictures and (attributes or source or threads or device != "auto"):
        raise GenbenchError(
            "--no-pictures opens no run, so that --attributes, --data, --device and --threads do nothing",
            "leave them out, or leave out --no-pictures",
        )
    if not title.strip():
        raise GenbenchError("--title: says nothing", "leave it out, or say what the page is about")
    form_of(output, FORMS)
    claim(output, force=force)
    asked = [condition(text) for text in conditions]
    places = paths or (runs,)
    boards, problems = read_boards(places, asked)
    print_warnings(problems)
    if not boards:
        raise no_records(places, problems)
    _warn_of_many(boards)
    made = f"made on {datetime.now(UTC):%Y-%m-%d at %H:%M} UTC by genbench {__version__}"
    cover = Cover(title, made, tuple(problems))
    if no_pictures:
        report = gather(boards, [NoPictures("left out by --no-pictures") for _ in boards], cover, _say)
    elif _can_be_opened(boards):
        report = _looked_at(boards, cover, attributes, source, device, threads)
    else:
        report = gather(boards, [NoPictures() for _ in boards], cover, _say)
    page = render(report).encode()
    write_atomic(output, page)
    click.echo(f"{output}: {len(page) / 1e6:.1f} MB")


def _warn_of_many(boards: "Sequence[Board]") -> None:
    """Say that few browsers open a page of so many runs."""
    total = sum(len(board.runs) for board in boards)
    if total > MOST:
        print_warning(f"{total:,} runs make a page that is slow to open, or too large", "--where narrows")


def _can_be_opened(boards: "Sequence[Board]") -> bool:
    """Whether any run can, as far as can be told without torch; says what is to be expected."""
    runs = [run for board in boards for run in board.runs]
    openable = sum(run.obstacle is None for run in runs)
    if not openable:
        print_warning("none of these runs can be opened: there are no pictures", "the page says why of each")
    elif openable > MANY:
        print_warning(
            f"pictures of {openable:,} runs take minutes, and make a large page",
            "--where narrows, --no-pictures leaves them out",
        )
    return openable > 0


def _looked_at(
    boards: "Sequence[Board]",
    cover: "Cover",
    attributes: Sequence[str],
    source: Path | None,
    device: str,
    threads: int | None,
) -> "Report":
    from genbench.plugins import Plugins

    plugins = Plugins.load()
    warn_of_broken(plugins)
    with bench_at(source, device, threads) as bench:
        from genbench.report.gathering import gather
        from genbench.report.portraits import exhibitions

        return gather(boards, exhibitions(plugins, bench, boards, attributes), cover, bench.say)


def _attributes(text: str | None) -> tuple[str, ...]:
    names = tuple(name.strip() for name in (text or "").split(",") if name.strip())
    if text is not None and not names:
        raise GenbenchError("--attributes: names none", "such as `--attributes Smiling,Male`; or leave it out")
    return names


def _say(message: str) -> None:
    click.echo(message, err=True)
