"""What the commands share that look at a finished run: how it is named and opened, and where pictures go."""

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from genbench.chosen import choose_run
from genbench.cli.output import warn_of_broken
from genbench.errors import GenbenchError
from genbench.plugins import Plugins
from genbench.store import unwritable

if TYPE_CHECKING:
    from genbench.finished import Bench, Opened

run_argument = click.argument("run", required=False)
force_option = click.option("--force", is_flag=True, help="Replace what is at the output path.")


def output_option(default: str) -> Callable[[Callable[..., object]], Callable[..., object]]:
    """Return the option that says where the result goes."""
    return click.option(
        "-o", "--output", type=click.Path(path_type=Path), default=Path(default), show_default=True, metavar="PATH"
    )


def claim(output: Path, *, force: bool) -> None:
    """Refuse a path that is taken, or where no file can be written, before anything is computed.

    Raises:
        GenbenchError: something is there, a folder even where `force` is given; or its folder lets nothing be written.
    """
    try:
        if output.is_dir():
            raise GenbenchError(f"{output} is a folder", "-o names a file")
        if (output.exists() or output.is_symlink()) and not force:
            raise GenbenchError(f"{output} is there already", "--force replaces it, or -o names another path")
        _check_writable(output)
    except OSError as error:
        raise unwritable(output, error) from error


def claim_folder(output: Path, *, force: bool) -> None:
    """Refuse a folder that is not empty, or is none."""
    if output.exists() and not output.is_dir():
        raise GenbenchError(f"{output} is a file, not a folder", "choose another path")
    if output.is_dir() and any(output.iterdir()) and not force:
        raise GenbenchError(f"{output}: not empty", "--force writes there nevertheless; or name another folder")


def _check_writable(output: Path) -> None:
    """Raise an OSError where the nearest folder that is there is none, or lets nothing be written into it."""
    folder = next(each for each in output.absolute().parents if each.exists())
    if not folder.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


@contextmanager
def opened(
    text: str | None,
    runs: Path,
    *,
    source: Path | None = None,
    device: str = "auto",
    threads: int | None = None,
    images: bool = True,
) -> Iterator["Opened"]:
    """Open the run that is meant, telling on stderr what takes long.

    Args:
        images: whether its data set's are needed.

    Raises:
        GenbenchError: no run is meant, or it can't be opened.
    """
    folder = choose_run(text, runs)
    plugins = Plugins.load()
    warn_of_broken(plugins)
    with bench_at(source, device, threads) as bench:
        from genbench.finished import read_run, reopen

        yield reopen(plugins, read_run(folder), bench, images=images)


@contextmanager
def bench_at(source: Path | None, device: str, threads: int | None) -> Iterator["Bench"]:
    """Set up what runs are opened on, which tells on stderr what takes long.

    Raises:
        GenbenchError: the device or the source is not there.
    """
    # Only here, once the command is known to be right, is torch worth waiting for.
    import torch

    from genbench.cli.progress import observing
    from genbench.data.sources import cache_folder, source_folder
    from genbench.execution import choose_device
    from genbench.finished import Bench

    if threads is not None:
        torch.set_num_threads(threads)
    with observing(warn_if_slow=False) as observer:
        yield Bench(choose_device(device), cache_folder(), source_folder(source), observer.said, observer.preparing)
