"""STL-10 (Coates, Lee & Ng, "An Analysis of Single-Layer Networks in Unsupervised Feature Learning", AISTATS 2011).

Reads the binary version. Its photographs are ImageNet's, so they are for non-commercial research and teaching.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

import numpy as np

from genbench.errors import GenbenchError
from genbench.interfaces import DataRequest, Dataset, ImageSet
from genbench_datasets.archives import list_members, read_members
from genbench_datasets.fetching import fetch
from genbench_datasets.pictures import Pixels, one_hot, resize_blocks, split_by_index
from genbench_datasets.settings import Stl10Settings

CLASSES = ("airplane", "bird", "car", "cat", "deer", "dog", "horse", "monkey", "ship", "truck")

_URL = "http://ai.stanford.edu/~acoates/stl10/stl10_binary.tar.gz"
_MD5 = "91f7769df0f17e558f3565bffb0c7dfb"
_ARCHIVE, _FOLDER = "stl10_binary.tar.gz", "stl10_binary"
_GET = f"get {_ARCHIVE} again from https://cs.stanford.edu/~acoates/stl10/"

_TRAIN, _UNLABELLED, _TEST = "train_X.bin", "unlabeled_X.bin", "test_X.bin"
_TRAIN_LABELS, _TEST_LABELS = "train_y.bin", "test_y.bin"
_OFFICIAL = {_TRAIN: 5_000, _UNLABELLED: 100_000, _TEST: 8_000}

SIDE = 96
_IMAGE = 3 * SIDE * SIDE
_IMAGES_AT_ONCE = 64


@dataclass(frozen=True)
class _Files:
    """The binary files, unpacked or not.

    Attributes:
        where: their folder, or the archive.
        sizes: of each that is read, in bytes.
    """

    where: Path
    sizes: Mapping[str, int]

    def read(self, names: Sequence[str], block: int = -1) -> Iterator[tuple[str, bytes]]:
        """Yield names and contents, or pieces of them of so many bytes; those of an archive in its order."""
        if self.where.is_file():
            inside = frozenset(f"{_FOLDER}/{name}" for name in names)
            for path, content in read_members(self.where, inside, _GET, block):
                yield Path(path).name, content
            return
        for name in names:
            with (self.where / name).open("rb") as file:
                while content := file.read(block):
                    yield name, content


class Stl10(Dataset):
    """Photographs: the unlabelled and the training images train, but for the last twentieth (5,000) of the unlabelled.

    These validate, and the test images test. As most images have no label, there are no attributes; with `labelled`
    there are the labelled images alone, an attribute a class, and the last tenth (500) of the training ones validates.
    Reads the folder `stl10_binary` or the archive `stl10_binary.tar.gz`.
    """

    def __init__(self, settings: Stl10Settings | None = None) -> None:
        self.settings = settings or Stl10Settings()

    def files(self, request: DataRequest) -> Sequence[Path]:
        if request.source is None:
            archive = request.downloads / _ARCHIVE
            if not archive.is_file():
                fetch((_URL,), archive, _MD5)
            return (archive,)
        return _find(request.source, (*self._images, *self._labels))

    def prepare(self, request: DataRequest) -> ImageSet:
        files = _measure(self.files(request), (*self._images, *self._labels))
        counts = {name: _count(files, name) for name in self._images}
        classes = _read_classes(files, self._labels, [counts[_TRAIN], counts[_TEST]]) if self._labels else None
        images = request.allocate((sum(counts.values()), request.size, request.size, 3))
        resize_blocks(_blocks(files, counts), images, self.settings.blur, request.progress)
        held_out = counts[_TRAIN] // 10 if self.settings.labelled else counts[_UNLABELLED] // 20
        return ImageSet(
            images=images,
            splits=split_by_index(len(images) - counts[_TEST] - held_out, held_out, counts[_TEST]),
            attributes=None if classes is None else one_hot(classes, len(CLASSES)),
            attribute_names=() if classes is None else CLASSES,
            notes=_notes(counts),
        )

    @property
    def _images(self) -> tuple[str, ...]:
        return (_TRAIN, _TEST) if self.settings.labelled else (_TRAIN, _UNLABELLED, _TEST)

    @property
    def _labels(self) -> tuple[str, ...]:
        return (_TRAIN_LABELS, _TEST_LABELS) if self.settings.labelled else ()


def _find(source: Path, names: Sequence[str]) -> tuple[Path, ...]:
    if source.is_file() and source.name.endswith((".tar.gz", ".tgz")):
        return (source,)
    places = (source / _FOLDER, source, source / "stl10" / _FOLDER, source / "stl10")
    there = {folder: [name for name in names if (folder / name).is_file()] for folder in places}
    for folder in places:
        if len(there[folder]) == len(names):
            return tuple(folder / name for name in names)
    for folder in places:
        if (folder / _ARCHIVE).is_file():
            return (folder / _ARCHIVE,)
    for folder in places:
        if there[folder]:
            missing = ", ".join(name for name in names if name not in there[folder])
            raise GenbenchError(f"{folder}: half of STL-10: {missing} missing", f"unpack {_ARCHIVE} again")
    raise GenbenchError(
        f"no STL-10 in {source}: looked for {_FOLDER}/{names[0]} and the like and for {_ARCHIVE}, there and in its "
        "folder stl10",
        f"get the binary files from {_URL}, or leave `--data` and GENBENCH_DATA away and they are downloaded (2.5 GB)",
    )


def _measure(paths: Sequence[Path], names: Sequence[str]) -> _Files:
    """Find out the sizes of files, which are one archive or lie in one folder."""
    if len(paths) > 1:
        return _Files(paths[0].parent, {path.name: path.stat().st_size for path in paths})
    sizes = list_members(paths[0], _GET)
    missing = ", ".join(name for name in names if f"{_FOLDER}/{name}" not in sizes)
    if missing:
        raise GenbenchError(f"{paths[0]}: not STL-10's binary archive: {missing} missing", _GET)
    return _Files(paths[0], {name: sizes[f"{_FOLDER}/{name}"] for name in names})


def _count(files: _Files, name: str) -> int:
    size = files.sizes[name]
    if not size or size % _IMAGE:
        raise GenbenchError(f"{files.where}: {name}: {size:,} bytes, expected a multiple of {_IMAGE:,}", _GET)
    return size // _IMAGE


def _blocks(files: _Files, counts: Mapping[str, int]) -> Iterator[tuple[int, Pixels]]:
    """Yield places and images (n, 96, 96, 3) of files, one file behind the other.

    A file holds, for each image, the red, the green and the blue plane, and of a plane one column after the other.
    """
    ends = dict(zip(counts, accumulate(counts.values()), strict=True))
    places = {name: ends[name] - count for name, count in counts.items()}
    for name, content in files.read(tuple(counts), _IMAGES_AT_ONCE * _IMAGE):
        count, rest = divmod(len(content), _IMAGE)
        if rest or places[name] + count > ends[name]:
            break
        yield places[name], np.frombuffer(content, np.uint8).reshape(-1, 3, SIDE, SIDE).transpose(0, 3, 2, 1)
        places[name] += count
    if places != ends:
        raise GenbenchError(f"{files.where}: changed while it was read", "prepare it again")


def _read_classes(files: _Files, names: Sequence[str], counts: Sequence[int]) -> Pixels:
    """Return classes from 0 to 9, those of one file after those of the other."""
    for name, count in zip(names, counts, strict=True):
        if files.sizes[name] != count:
            raise GenbenchError(f"{files.where}: {name}: {files.sizes[name]:,} labels for {count:,} images", _GET)
    contents = dict(files.read(names))
    labels = np.frombuffer(b"".join(contents[name] for name in names), np.uint8)
    if not 1 <= labels.min() <= labels.max() <= len(CLASSES):
        raise GenbenchError(
            f"{files.where}: {' and '.join(names)}: labels {labels.min()} to {labels.max()}, "
            f"expected 1 to {len(CLASSES)}",
            _GET,
        )
    return labels - np.uint8(1)


def _notes(counts: Mapping[str, int]) -> tuple[str, ...]:
    official = {name: _OFFICIAL[name] for name in counts}
    found, expected = (" + ".join(f"{count:,}" for count in each.values()) for each in (counts, official))
    return () if counts == official else (f"{found} images instead of {expected}",)
