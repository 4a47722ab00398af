"""Any folder of images."""

import csv
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from genbench.data.fitting import middle_square
from genbench.errors import GenbenchError
from genbench.interfaces import DataRequest, Dataset, ImageSet
from genbench_datasets.pictures import decode_all, first_few, share
from genbench_datasets.settings import FolderSettings

EXTENSIONS = frozenset((".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm"))

_SPLITS = {"train": 0, "validation": 1, "val": 1, "valid": 1, "test": 2}
_TRUTH = {"0": 0, "-1": 0, "1": 1}


class Folder(Dataset):
    """All images below a folder, in the order of their paths, cropped to the middle square and resized.

    Folders `train`, `validation` (or `val`) and `test` at the top are the splits. Where there is no folder for one of
    them, a tenth of the training images is taken for it, by a hash of each image's path.
    """

    def __init__(self, settings: FolderSettings) -> None:
        self.settings = settings

    def files(self, request: DataRequest) -> Sequence[Path]:
        source = _source(request)
        folders = [Path(folder) for folder, _ in _walk(source)]
        return [*folders, self._table(source)] if self.settings.attributes else folders

    def prepare(self, request: DataRequest) -> ImageSet:
        source = _source(request)
        names = _images_below(source)
        splits = _splits(source, names)
        attribute_names: tuple[str, ...] = ()
        attributes = None
        if self.settings.attributes:
            attribute_names, attributes = _read_table(self._table(source), names)
        decoded = decode_all(
            source,
            names,
            lambda name: Image.open(source / name),
            lambda picture: middle_square(picture, request.size),
            request,
        )
        return ImageSet(
            images=decoded.images,
            splits=splits[decoded.kept],
            attributes=None if attributes is None else attributes[decoded.kept],
            attribute_names=attribute_names,
            skipped_images=decoded.skipped,
        )

    def _table(self, source: Path) -> Path:
        table = source / self.settings.attributes
        if not table.is_file():
            raise GenbenchError(
                f"folder: no attributes file {table}", "name a CSV file relative to the folder of images"
            )
        return table


def _source(request: DataRequest) -> Path:
    if request.source is None:
        raise GenbenchError("folder: no folder of images named", "name one with `--data FOLDER`")
    if not request.source.is_dir():
        raise GenbenchError(f"folder: {request.source} is not a folder", "name a folder of images with `--data FOLDER`")
    return request.source


def _images_below(source: Path) -> list[str]:
    """Return the images' paths relative to the source, with `/`, sorted; hidden files and folders are left out."""
    names: list[str] = []
    for folder, files in _walk(source):
        inside = Path(folder).relative_to(source).as_posix()
        prefix = "" if inside == "." else f"{inside}/"
        names += [prefix + name for name in files if _ending(name) in EXTENSIONS]
    if not names:
        raise GenbenchError(f"folder: no images below {source}", f"images end in {', '.join(sorted(EXTENSIONS))}")
    return sorted(names)


def _walk(source: Path) -> Iterator[tuple[str, list[str]]]:
    """Yield each folder, and its files' names; hidden ones of either are left out."""
    for folder, folders, files in os.walk(source):
        folders[:] = [name for name in folders if not name.startswith((".", "__MACOSX"))]
        yield folder, [name for name in files if not name.startswith(".")]


def _ending(name: str) -> str:
    return os.path.splitext(name)[1].lower()  # noqa: PTH122 -- a third of Path's time, and there may be 200,000


def _splits(source: Path, names: Sequence[str]) -> npt.NDArray[np.uint8]:
    tops = [name.split("/", 1)[0] if "/" in name else "" for name in names]
    named = "train" in tops
    outside = [name for name, top in zip(names, tops, strict=True) if top not in _SPLITS]
    if named and outside:
        raise GenbenchError(
            f"folder: {source} has a folder train, but {len(outside):,} images lie outside of train, validation "
            f"and test: {first_few(outside)}",
            "move them into one of these folders, or out of the way",
        )
    splits = np.array([_SPLITS[top] if named else 0 for top in tops], np.uint8)
    shares = np.array([share(name) for name in names])
    for split, low, high in ((1, 0.8, 0.9), (2, 0.9, 1.0)):
        if split not in splits:
            splits[(splits == 0) & (shares >= low) & (shares < high)] = split
    return splits


def _read_table(path: Path, names: Sequence[str]) -> tuple[tuple[str, ...], npt.NDArray[np.uint8]]:
    """Read a CSV file with a header; return the attributes' names and the rows in the order of `names`."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            header, *rows = csv.reader(file)
    except (OSError, ValueError, csv.Error) as error:
        raise GenbenchError(f"{path}: not a CSV file with a header: {error}") from error
    table: dict[str, list[int]] = {}
    for number, row in enumerate(rows, 2):
        if not row:
            continue
        values = [value.strip() for value in row[1:]]
        if len(row) != len(header) or not set(values) <= set(_TRUTH):
            raise GenbenchError(
                f"{path}: row {number}: expected a path and {len(header) - 1} values of 0, 1 or -1, found {row}"
            )
        if row[0] in table:
            raise GenbenchError(f"{path}: row {number}: {row[0]} stands twice")
        table[row[0]] = [_TRUTH[value] for value in values]
    if len(header) < 2:
        raise GenbenchError(f"{path}: no attributes: the header has one column")
    _check_same(path, set(names), set(table))
    return tuple(name.strip() for name in header[1:]), np.array([table[name] for name in names], np.uint8)


def _check_same(path: Path, images: set[str], rows: set[str]) -> None:
    for missing, complaint in ((images - rows, "have no row"), (rows - images, "have a row, but are not there")):
        if missing:
            raise GenbenchError(
                f"{path}: {len(missing):,} images {complaint}: {first_few(sorted(missing))}",
                "name every image by its path relative to the folder, once",
            )
