"""A prepared data set at rest: a folder of .npy files, and `meta.json`, written last, with every file's size."""

import errno
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from secrets import token_hex
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from genbench.interfaces import ImageSet
from genbench.store import sync_folder

LAYOUT = 1
"""Raised whenever the files of a packed data set change their form."""

Split = Literal["train", "validation", "test"]
Bytes = npt.NDArray[np.uint8]

_SPLITS: tuple[Split, ...] = ("train", "validation", "test")
_META = "meta.json"
_BLOCK = 2**24
_UNABLE = (errno.EOPNOTSUPP, errno.EINVAL, errno.ENODEV)
"""What file systems answer that neither map files for writing nor set room aside, some network folders among them."""


@dataclass(frozen=True)
class PackedDataset:
    """A prepared data set.

    Attributes:
        name: the data set's.
        size: side of the images in pixels.
        channels: 1 or 3.
        fingerprint: SHA-256 of images, splits, attributes and their names.
        images: (N, size, size, channels) uint8, mapped from the file; what is written to it stays in memory.
        splits: (N,): 0 train, 1 validation, 2 test.
        attributes: (N, A) in {0, 1}, or None.
        attribute_names: A names.
        notes: what a reader of any score on this set must know.
        skipped_images: names of unreadable images that were left out.
    """

    name: str
    size: int
    channels: int
    fingerprint: str
    images: Bytes
    splits: Bytes
    attributes: Bytes | None = None
    attribute_names: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    skipped_images: tuple[str, ...] = ()

    def indices(self, split: Split) -> npt.NDArray[np.int64]:
        """Return the places of a split's images, in order."""
        return np.flatnonzero(self.splits == _SPLITS.index(split))


@dataclass(frozen=True)
class _Meta:
    """What `meta.json` says.

    Attributes:
        files: size of each file in bytes.
    """

    layout: int
    name: str
    fingerprint: str
    attribute_names: tuple[str, ...]
    notes: tuple[str, ...]
    skipped_images: tuple[str, ...]
    files: dict[str, int]


def fingerprint(images: ImageSet) -> str:
    """Return the SHA-256 of all that a run can see of a data set: images, splits, attributes and their names."""
    digest = sha256()
    for array in (images.images, images.splits, images.attributes):
        if array is None:
            digest.update(b"none;")
            continue
        digest.update(f"{array.dtype.str}{array.shape};".encode())
        digest.update(np.ascontiguousarray(array).data)
    digest.update(json.dumps(images.attribute_names).encode())
    return digest.hexdigest()


class Draft:
    """A data set on its way to disk: files in a temporary folder beside the one that it becomes when it is whole."""

    def __init__(self, folder: Path, temporary: Path) -> None:
        self._folder = folder
        self._temporary = temporary
        self._maps: list[tuple[np.memmap[Any, np.dtype[np.uint8]], Path]] = []

    def allocate(self, shape: tuple[int, ...]) -> Bytes:
        """Return an array whose memory is a file of the draft; where it holds all images, the file is kept as theirs.

        It lies in memory where the system can't do that.

        Raises:
            OSError: the disk has no room for it.
        """
        if os.name == "nt" or 0 in shape:  # Windows renames no folder with a mapped file; no system maps nothing
            return np.empty(shape, np.uint8)
        self._temporary.mkdir(parents=True, exist_ok=True)
        path = self._temporary / f"allocated-{len(self._maps)}.npy"
        try:
            mapped = np.lib.format.open_memmap(path, "w+", np.uint8, shape)
        except OSError as error:
            if error.errno not in _UNABLE:
                raise
            path.unlink(missing_ok=True)
            return np.empty(shape, np.uint8)
        _reserve(path, mapped.nbytes)
        self._maps.append((mapped, path))
        return mapped.view(np.ndarray)

    def finish(self, name: str, images: ImageSet) -> None:
        """Write what is not on disk yet, and put the folder in its place; one that is there is replaced.

        Raises:
            OSError: it can't be written.
        """
        self._temporary.mkdir(parents=True, exist_ok=True)
        self._write_files(name, images)
        if self._folder.exists():
            shutil.rmtree(self._folder)
        self._temporary.rename(self._folder)
        sync_folder(self._folder.parent)

    def _write_files(self, name: str, images: ImageSet) -> None:
        arrays = {"images.npy": images.images, "splits.npy": images.splits, "attributes.npy": images.attributes}
        files = {file: self._write(file, array) for file, array in arrays.items() if array is not None}
        for _, path in self._maps:
            path.unlink(missing_ok=True)  # what the data set allocated and did not return
        texts = images.attribute_names, images.notes, images.skipped_images
        meta = _Meta(LAYOUT, name, fingerprint(images), *texts, files)
        with (self._temporary / _META).open("x", encoding="utf-8") as file:
            json.dump(asdict(meta), file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        sync_folder(self._temporary)

    def _write(self, file: str, array: Bytes) -> int:
        for mapped, path in self._maps:
            if mapped.__array_interface__ == array.__array_interface__:  # the same memory, in the same shape
                mapped.flush()
                return _adopt(path, self._temporary / file)
        return _write_array(self._temporary / file, array)


@contextmanager
def drafting(folder: Path) -> Iterator[Draft]:
    """Hold a draft of a data set such that the folder is, after a crash at any time, either whole or not there.

    A folder that is there is replaced when the draft is finished. The caller holds a lock on it.
    """
    temporary = folder.with_name(f"{folder.name}.{token_hex(4)}.tmp")
    try:
        yield Draft(folder, temporary)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def read_packed(folder: Path) -> PackedDataset | None:
    """Open a data set, or return None where the folder does not hold a whole one in this layout."""
    try:
        meta = _read_meta(folder)
        if any((folder / name).stat().st_size != size for name, size in meta.files.items()):
            return None
        images = np.load(folder / "images.npy", mmap_mode="c", allow_pickle=False)
        splits = np.load(folder / "splits.npy", allow_pickle=False)
        named = "attributes.npy" in meta.files
        attributes = np.load(folder / "attributes.npy", allow_pickle=False) if named else None
    except (OSError, ValueError, TypeError, KeyError, EOFError):  # numpy's and JSON's for what they can't make sense of
        return None
    if meta.layout != LAYOUT or not _fits(images, splits, attributes, meta):
        return None
    return PackedDataset(
        name=meta.name,
        size=images.shape[1],
        channels=images.shape[3],
        fingerprint=meta.fingerprint,
        images=images,
        splits=splits,
        attributes=attributes,
        attribute_names=meta.attribute_names,
        notes=meta.notes,
        skipped_images=meta.skipped_images,
    )


def _write_array(path: Path, array: Bytes) -> int:
    with path.open("xb") as file:
        np.save(file, np.ascontiguousarray(array), allow_pickle=False)
        file.flush()
        os.fsync(file.fileno())
    return path.stat().st_size


def _adopt(path: Path, target: Path) -> int:
    with path.open("rb+") as file:
        os.fsync(file.fileno())
    path.rename(target)
    return target.stat().st_size


def _reserve(path: Path, count: int) -> None:
    """Take room on the disk for the last bytes of a file: writing to a map for which there is none kills a process."""
    start = path.stat().st_size - count
    with path.open("rb+") as file:
        if _allocated(file.fileno(), start, count):
            return
        file.seek(start)
        for place in range(0, count, _BLOCK):
            file.write(bytes(min(_BLOCK, count - place)))


def _allocated(descriptor: int, start: int, count: int) -> bool:
    """Have the file system set room aside; return whether it can do that."""
    if not hasattr(os, "posix_fallocate"):
        return False
    try:
        os.posix_fallocate(descriptor, start, count)
    except OSError as error:
        if error.errno in _UNABLE:
            return False
        raise
    return True


def _read_meta(folder: Path) -> _Meta:
    content: dict[str, Any] = json.loads((folder / _META).read_text("utf-8"))
    texts = {key: tuple(content[key]) for key in ("attribute_names", "notes", "skipped_images")}
    files = {name: int(content["files"][name]) for name in content["files"]}
    return _Meta(int(content["layout"]), str(content["name"]), str(content["fingerprint"]), files=files, **texts)


def _fits(images: Bytes, splits: Bytes, attributes: Bytes | None, meta: _Meta) -> bool:
    width = len(meta.attribute_names)
    return (
        all(array is None or array.dtype == np.uint8 for array in (images, splits, attributes))
        and images.ndim == 4
        and splits.shape == images.shape[:1]
        and (width == 0 if attributes is None else attributes.shape == (len(images), width))
    )
