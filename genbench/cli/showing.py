"""What the commands share that draw images: those that they are shown, how they are laid out, and where they go."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from genbench.errors import GenbenchError, NotApplicable
from genbench.store import RECORD_NAME
from genbench.tables import clean

if TYPE_CHECKING:
    from torch import Tensor

    from genbench.finished import Opened

FORMS = ("png",)
ENDINGS = frozenset((".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm"))

Command = Callable[..., object]
Split = Literal["train", "validation", "test"]

images_argument = click.argument("images", nargs=-1, type=click.Path(path_type=Path))
split_option = click.option(
    "--split",
    type=click.Choice(("test", "validation", "train")),
    help="Where images come from that are not your own.  [default: test]",
)


def scale_option(width: int = 512) -> Callable[[Command], Command]:
    """Return the option that enlarges a picture; None where it is left out."""
    return click.option(
        "--scale",
        type=click.IntRange(1, 64),
        metavar="N",
        help=f"Side of the square that each pixel becomes.  [default: the least that makes it {width} px wide]",
    )


def columns_option(default: int) -> Callable[[Command], Command]:
    """Return the option that says how many images stand beside each other."""
    return click.option(
        "--columns", type=click.IntRange(1, 256), default=default, show_default=True, metavar="N", help="In a row."
    )


def count_option(most: int, default: int, meaning: str) -> Callable[[Command], Command]:
    """Return the option that says of how many images; None where it is left out, so that it can be told from one."""
    return click.option(
        "-n", "--count", type=click.IntRange(1, most), metavar="N", help=f"{meaning}  [default: {default}]"
    )


def told_apart(run: str | None, images: tuple[Path, ...]) -> tuple[str | None, tuple[Path, ...]]:
    """Return the run and the images of a command line, whose first argument is an image where it names one."""
    if run is None:
        return None, images
    first = Path(run)
    is_image = first.is_file() and first.name != RECORD_NAME
    if is_image or (first.suffix.lower() in ENDINGS and not first.is_dir()):
        return None, (first, *images)
    return run, images


def refuse_beside_images(images: tuple[Path, ...], **options: object) -> None:
    """Refuse options that say which of the data's images are meant, where the user's own are given.

    Raises:
        GenbenchError: one of them is given.
    """
    for name, value in options.items():
        if images and value is not None:
            raise GenbenchError(f"--{name} and images of your own exclude each other", "leave one of them out")


def check_own(images: tuple[Path, ...]) -> None:
    """Refuse files that are no images, before a run is opened.

    Raises:
        GenbenchError: one is none.
    """
    from genbench.data.own import check_images

    check_images(images)


def shown_images(it: "Opened", images: tuple[Path, ...], split: Split, count: int) -> tuple["Tensor", tuple[str, ...]]:
    """Return the images that a command is about, uint8 (N, C, H, W) on the CPU, and what each is called.

    Args:
        images: the user's own, or none: then the first of a split.

    Raises:
        GenbenchError: an image can't be read.
        NotApplicable: the split is empty.
    """
    import torch

    if images:
        return _own_images(it, images)
    found = torch.cat([batch.cpu() for batch in it.context.real(split, count)])
    return found, tuple(f"{split} {number}" for number in range(len(found)))


@contextmanager
def naming(it: "Opened", hint: str = "choose a run whose model encodes, such as one of `vae`") -> Iterator[None]:
    """Let what makes no sense for a run be told with the run's name."""
    try:
        yield
    except NotApplicable as error:
        raise NotApplicable(f"{it.run.folder.path}: {error.message}", error.hint or hint) from error


def _own_images(it: "Opened", paths: tuple[Path, ...]) -> tuple["Tensor", tuple[str, ...]]:
    import torch

    from genbench.data.own import read_images

    data = it.data
    images, notes = read_images(paths, data.size, data.channels)
    for note in notes:
        click.echo(f"note: {clean(note)}", err=True)
    if notes:
        click.echo(
            f"note: the model has seen nothing but `{data.name}`: what is cropped or aligned unlike its images comes "
            "out worse",
            err=True,
        )
    return torch.from_numpy(images).permute(0, 3, 1, 2).contiguous(), tuple(clean(str(path)) for path in paths)
