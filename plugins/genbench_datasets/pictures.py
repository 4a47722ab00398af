"""Decoding, blurring and resizing of many pictures on all cores."""

import os
import zipfile
import zlib
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import sha256
from itertools import islice
from pathlib import Path
from struct import error as StructError

import numpy as np
import numpy.typing as npt
from PIL import Image

from genbench.errors import GenbenchError
from genbench.interfaces import DataRequest

Pixels = npt.NDArray[np.uint8]

_CHUNK = 64
_UNREADABLE = (
    OSError,  # what Pillow raises for most files, truncated ones included
    ValueError,
    SyntaxError,  # Pillow's for broken PNG files
    EOFError,
    StructError,
    zlib.error,
    zipfile.BadZipFile,  # a member's checksum
    Image.DecompressionBombError,
)


@dataclass(frozen=True)
class Decoded:
    """Pictures as arrays.

    Attributes:
        images: (N, size, size, 3) of the readable ones, in their order.
        kept: (N,), their places in the list that was asked for.
        skipped: names of the unreadable ones.
        sizes: all widths and heights that were met.
    """

    images: Pixels
    kept: npt.NDArray[np.int64]
    skipped: tuple[str, ...]
    sizes: frozenset[tuple[int, int]]


def decode_all(
    where: Path,
    names: Sequence[str],
    open_picture: Callable[[str], Image.Image],
    fit: Callable[[Image.Image], Image.Image],
    request: DataRequest,
) -> Decoded:
    """Decode pictures with threads; Pillow releases the interpreter's lock.

    Args:
        where: the folder or archive, for errors.
        names: what to read there.
        open_picture: opens one by name; called from many threads.
        fit: turns one into RGB of the requested size.
        request: size, progress, and whether unreadable pictures are skipped.

    Raises:
        GenbenchError: a picture can't be read, or all of them are bad.
    """
    images = request.allocate((len(names), request.size, request.size, 3))
    good = np.zeros(len(names), bool)
    sizes: set[tuple[int, int]] = set()

    def decode(places: range) -> int:
        for place in places:
            try:
                with open_picture(names[place]) as picture:
                    images[place] = np.asarray(fit(picture))
                    sizes.add(picture.size)
                    good[place] = True
            except _UNREADABLE as error:
                if not request.skip_bad_images:
                    raise _bad_picture(where, names[place], error) from error
        return len(places)

    chunks = [range(start, min(start + _CHUNK, len(names))) for start in range(0, len(names), _CHUNK)]
    with ThreadPoolExecutor(_cores()) as pool:
        done = 0
        try:
            for count in pool.map(decode, chunks):
                done += count
                request.progress(done, len(names))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    kept = np.flatnonzero(good)
    if not len(kept):
        raise GenbenchError(f"{where}: none of {len(names)} images can be read: {first_few(names)}")
    skipped = tuple(name for name, readable in zip(names, good, strict=True) if not readable)
    return Decoded(images if good.all() else _close_ranks(images, kept), kept, skipped, frozenset(sizes))


def rgb(picture: Image.Image) -> Image.Image:
    """Return the picture in RGB, itself where it is so already."""
    return picture if picture.mode == "RGB" else picture.convert("RGB")


def crop_and_resize(picture: Image.Image, box: tuple[int, int, int, int], size: int, blur: float = 0.0) -> Image.Image:
    """Crop (left, top, right, bottom), then resize; a blur sees nothing of what was cut off."""
    return resize(picture.crop(box), size, blur=blur)


def resize(
    picture: Image.Image, size: int, *, box: tuple[float, float, float, float] | None = None, blur: float = 0.0
) -> Image.Image:
    """Resize an RGB picture, or a box of it, to a square with Pillow's antialiased bicubic filter.

    Args:
        picture: what to resize.
        size: side of the result in pixels.
        box: left, top, right, bottom in the picture, in pixels, fractions of one too; None for all of it.
        blur: σ in pixels of the picture of a Gaussian that is applied before, on floats, cut off at 4 σ and with the
            edge pixels repeated; 0 for none. The code of Larsen et al. 2016 (dataset/celeba.py) has half of the square
            root of the factor by which it makes the crop smaller: 0.76 for 148 to 64 pixels.
    """
    if not blur:
        return picture.resize((size, size), Image.Resampling.BICUBIC, box=box)
    from scipy.ndimage import gaussian_filter

    smooth = gaussian_filter(np.asarray(picture, np.float32), (blur, blur, 0), mode="nearest", truncate=4.0)
    planes = [
        np.asarray(Image.fromarray(smooth[..., channel]).resize((size, size), Image.Resampling.BICUBIC, box=box))
        for channel in range(3)
    ]
    return Image.fromarray(np.rint(np.stack(planes, -1)).clip(0, 255).astype(np.uint8))


def resize_blocks(
    blocks: Iterable[tuple[int, Pixels]], images: Pixels, blur: float, progress: Callable[[int, int], None]
) -> None:
    """Resize colour images that come a block at a time, with threads, so that few of them need be in memory.

    Args:
        blocks: the place of the first image, and images (n, H, W, 3).
        images: (N, size, size, 3), to be filled.
        blur: as of `resize`.
        progress: called with (images done, images in all).
    """

    def fit(block: tuple[int, Pixels]) -> int:
        for place, pixels in enumerate(block[1], block[0]):
            images[place] = np.asarray(
                resize(Image.fromarray(np.ascontiguousarray(pixels)), images.shape[1], blur=blur)
            )
        return len(block[1])

    waiting, done = iter(blocks), 0
    with ThreadPoolExecutor(_cores()) as pool:
        while several := list(islice(waiting, _cores())):
            for count in pool.map(fit, several):
                done += count
                progress(done, len(images))


def resize_grey(images: Pixels, size: int, progress: Callable[[int, int], None]) -> Pixels:
    """Resize (N, H, W) with Pillow's antialiased bicubic filter to (N, size, size, 1)."""
    if images.shape[1:] == (size, size):
        return np.array(images[..., None])
    resized = np.empty((len(images), size, size, 1), np.uint8)
    for place, image in enumerate(images):
        resized[place, ..., 0] = np.asarray(Image.fromarray(image).resize((size, size), Image.Resampling.BICUBIC))
        if place % 1024 == 1023 or place + 1 == len(images):
            progress(place + 1, len(images))
    return resized


def one_hot(labels: npt.NDArray[np.uint8], classes: int) -> Pixels:
    """Return (N, classes) in {0, 1} for labels (N,)."""
    return np.equal(labels[:, None], np.arange(classes)).astype(np.uint8)


def split_by_index(train: int, validation: int, test: int) -> Pixels:
    """Return the splits of images that stand in this order."""
    return np.array([0] * train + [1] * validation + [2] * test, np.uint8)


def share(name: str) -> float:
    """Return a number in [0, 1) that depends on a name alone, so that a split stays when others come and go."""
    return int.from_bytes(sha256(name.encode("utf-8", "surrogateescape")).digest()[:6], "big") / 2**48


def innermost(folder: Path) -> Path:
    """Return the folder of the same name inside a folder, which some unpackers add, or the folder itself."""
    nested = folder / folder.name
    return nested if nested.is_dir() else folder


def first_few(names: Sequence[str], most: int = 5) -> str:
    """Return some names for an error: `a, b, c, …`."""
    return ", ".join(names[:most]) + (", …" if len(names) > most else "")


def _close_ranks(images: Pixels, kept: npt.NDArray[np.int64]) -> Pixels:
    """Move the kept images to the front, in place and a few at a time, as they may not fit into memory; return them."""
    for start in range(0, len(kept), _CHUNK):
        block = kept[start : start + _CHUNK]
        images[start : start + len(block)] = images[block]
    return images[: len(kept)]


def _bad_picture(where: Path, name: str, error: Exception) -> GenbenchError:
    return GenbenchError(
        f"{where}: {name}: unreadable image: {error or type(error).__name__}",
        "replace the file, or leave unreadable images out and have them counted with `--skip-bad-images`",
    )


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):  # where a container or a batch system lends fewer than the machine has
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
