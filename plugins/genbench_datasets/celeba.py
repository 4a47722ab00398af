"""CelebA (Liu et al., "Deep Learning Face Attributes in the Wild", ICCV 2015) as Larsen et al. 2016 cropped it.

Reads the official files: the aligned images as a folder or a zip archive, `list_attr_celeba.txt` by the attributes'
names, and `list_eval_partition.txt`. CelebA is for non-commercial research.
"""

import contextlib
import io
import os
import sys
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from threading import Lock

import numpy as np
from PIL import Image

from genbench.errors import GenbenchError
from genbench.interfaces import DataRequest, Dataset, ImageSet
from genbench_datasets.celeba_lists import read_attributes, read_partition
from genbench_datasets.lists import Attributes
from genbench_datasets.pictures import crop_and_resize, decode_all, first_few, innermost, resize, rgb
from genbench_datasets.settings import CelebaSettings

OFFICIAL_IMAGES = 202_599
OFFICIAL_SIZE = (178, 218)
CROP = (15, 40, 163, 188)
"""Left, top, right, bottom in an official image: rows 40:188, columns 15:163, as in the code of Larsen et al. 2016."""

_ENDING = ".jpg"
_IMAGES, _ARCHIVE = "img_align_celeba", "img_align_celeba.zip"
_ATTRIBUTES, _PARTITION = "list_attr_celeba.txt", "list_eval_partition.txt"
_WHAT = f"`{_ARCHIVE}` (or the folder `{_IMAGES}`), `{_ATTRIBUTES}` and `{_PARTITION}`"
_GET = "get them from https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html"


@dataclass(frozen=True)
class _Files:
    """Where the official files are; None for what is missing."""

    images: Path | None
    attributes: Path | None
    partition: Path | None

    def missing(self) -> list[str]:
        named = (
            (f"{_ARCHIVE} or {_IMAGES}/", self.images),
            (_ATTRIBUTES, self.attributes),
            (_PARTITION, self.partition),
        )
        return [name for name, path in named if path is None]


class Celeba(Dataset):
    """CelebA, in the order of its file names, with the official split and all attributes.

    `source` is the folder that holds the official files, or its parent. Images of another size than the official
    are cropped in proportion, and noted.
    """

    def __init__(self, settings: CelebaSettings | None = None) -> None:
        self.settings = settings or CelebaSettings()

    def files(self, request: DataRequest) -> Sequence[Path]:
        images, attributes, partition = _locate(request)
        return [images if images.is_file() else innermost(images), attributes, partition]

    def prepare(self, request: DataRequest) -> ImageSet:
        where, attribute_file, partition_file = _locate(request)
        attributes = read_attributes(attribute_file)
        partition = read_partition(partition_file)
        with _pictures(where) as (present, open_picture):
            _check_complete(where, present, attributes, partition, (attribute_file, partition_file))
            names = sorted(attributes.rows)
            decoded = decode_all(where, names, open_picture, lambda picture: self._fit(picture, request.size), request)
        kept = [names[place] for place in decoded.kept]
        return ImageSet(
            images=decoded.images,
            splits=np.array([partition[name] for name in kept], np.uint8),
            attributes=attributes.table(kept),
            attribute_names=attributes.names,
            notes=_notes(len(names), decoded.sizes),
            skipped_images=decoded.skipped,
        )

    def _fit(self, picture: Image.Image, size: int) -> Image.Image:
        box, blur = crop_box(self.settings.centre_crop), self.settings.blur
        if picture.size == OFFICIAL_SIZE:
            return crop_and_resize(rgb(picture), box, size, blur)
        across, down = picture.width / OFFICIAL_SIZE[0], picture.height / OFFICIAL_SIZE[1]
        scaled = (box[0] * across, box[1] * down, box[2] * across, box[3] * down)
        return resize(rgb(picture), size, box=scaled, blur=blur * across)


def crop_box(side: int) -> tuple[int, int, int, int]:
    """Return left, top, right, bottom of the central square of an official image, as torchvision's CenterCrop has it.

    A side of 0 stands for the crop of Larsen et al. 2016, which lies a little lower.
    """
    if not side:
        return CROP
    left, top = (round((length - side) / 2) for length in OFFICIAL_SIZE)
    return left, top, left + side, top + side


def _notes(count: int, sizes: frozenset[tuple[int, int]]) -> tuple[str, ...]:
    notes = []
    if count != OFFICIAL_IMAGES:
        notes.append(
            f"a subset of CelebA: {count:,} of {OFFICIAL_IMAGES:,} images; not comparable with scores on all of it"
        )
    others = sorted(sizes - {OFFICIAL_SIZE})
    if others:
        listed = first_few([f"{width}×{height}" for width, height in others], 3)
        notes.append(
            f"CelebA images of {listed} instead of 178×218 pixels; not comparable with scores on the official ones"
        )
    return tuple(notes)


def _locate(request: DataRequest) -> tuple[Path, Path, Path]:
    """Return the images (folder or archive), the attribute list and the partition; without a source, download them."""
    if request.source is not None:
        return _complete(_search(request.source), request.source, "name the folder that holds them, or its parent")
    there = request.downloads / "celeba"
    found = _search(there)
    if found.missing():
        reason = _download(request.downloads)
        found = _search(there)
        if found.missing() and reason:
            raise GenbenchError(
                f"celeba: not in {there}, and the download failed: {reason}",
                f"put {_WHAT} there, or name their folder with `--data`; {_GET}",
            )
    return _complete(found, there, "put them there, or name their folder with `--data`")


def _complete(found: _Files, where: Path, what_to_do: str) -> tuple[Path, Path, Path]:
    if found.images and found.attributes and found.partition:
        return found.images, found.attributes, found.partition
    missing = found.missing()
    if len(missing) == 3:
        raise GenbenchError(
            f"celeba: no CelebA in {where} or in its folder celeba: looked for {_WHAT}", f"{what_to_do}; {_GET}"
        )
    raise GenbenchError(f"celeba: half of CelebA is in {where}: {', '.join(missing)} missing", f"{what_to_do}; {_GET}")


def _search(source: Path) -> _Files:
    """Find the files in the source or in its folder `celeba`, flat or in the official folders Anno, Eval and Img."""
    folder = source.parent if source.is_file() else source
    found = _Files(None, None, None)
    for root in (folder, folder / "celeba", folder / "CelebA"):
        places = [root, root / "Anno", root / "Eval", root / "Img"]
        found = _Files(
            images=next((path for p in places for path in (p / _IMAGES, p / _ARCHIVE) if _holds_images(path)), None),
            attributes=next((p / _ATTRIBUTES for p in places if (p / _ATTRIBUTES).is_file()), None),
            partition=next((p / _PARTITION for p in places if (p / _PARTITION).is_file()), None),
        )
        if len(found.missing()) < 3:
            break
    return found


def _holds_images(path: Path) -> bool:
    return path.is_file() or (path.is_dir() and any(True for _ in _names_in(innermost(path))))


def _names_in(folder: Path) -> Iterator[str]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.endswith(_ENDING) and not entry.name.startswith("."):
                yield entry.name


def _download(downloads: Path) -> str | None:
    """Let torchvision download CelebA; return why it failed, or None."""
    try:
        from torchvision.datasets import CelebA

        with contextlib.redirect_stdout(sys.stderr):
            CelebA(str(downloads), split="all", target_type="attr", download=True)
    except Exception as error:  # its downloader raises errors of many libraries, some of them optional
        return f"{type(error).__name__}: {error}".strip().splitlines()[0]
    return None


@contextlib.contextmanager
def _pictures(where: Path) -> Iterator[tuple[set[str], Callable[[str], Image.Image]]]:
    """Open the folder or the archive: the names that are there, and how to open one."""
    if where.is_dir():
        folder = innermost(where)
        yield set(_names_in(folder)), lambda name: Image.open(folder / name)
        return
    try:
        archive = zipfile.ZipFile(where)
    except (zipfile.BadZipFile, OSError) as error:
        raise GenbenchError(f"{where}: not a whole zip archive: {error}", "copy or download it again") from error
    reading = Lock()  # one file position for all threads

    def open_member(name: str) -> Image.Image:
        with reading:
            content = archive.read(members[name])
        return Image.open(io.BytesIO(content))

    with archive:
        members = {
            PurePosixPath(entry.filename).name: entry
            for entry in archive.infolist()
            if entry.filename.endswith(_ENDING) and not entry.filename.startswith("__MACOSX")
        }
        yield set(members), open_member


def _check_complete(
    where: Path, present: set[str], attributes: Attributes, partition: dict[str, int], lists: tuple[Path, Path]
) -> None:
    listed = set(attributes.rows)
    for missing, complaint in (
        (listed - present, f"named in {lists[0].name} are missing from {where}"),
        (present - listed, f"in {where} have no row in {lists[0]}"),
        (listed - set(partition), f"named in {lists[0].name} have no row in {lists[1]}"),
        (set(partition) - listed, f"named in {lists[1].name} have no row in {lists[0]}"),
    ):
        if missing:
            raise GenbenchError(
                f"celeba: {len(missing):,} images {complaint}: {first_few(sorted(missing))} "
                f"({len(present):,} images, {len(listed):,} rows of attributes, {len(partition):,} of the partition)",
                "copy or unpack the data set again; a subset needs lists of its own",
            )
