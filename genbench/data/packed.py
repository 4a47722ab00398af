"""A prepared data set at rest: a folder of .npy files, and `meta.json`, written last, with every file's size."""

import json
import os
import shutil
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


def write_packed(folder: Path, name: str, images: ImageSet) -> None:
    """Write a data set such that the folder is, after a crash at any time, either whole or not there.

    A folder that is there is replaced. The caller holds a lock on it.

    Raises:
        OSError: it can't be written.
    """
    temporary = folder.with_name(f"{folder.name}.{token_hex(4)}.tmp")
    temporary.mkdir(parents=True)
    try:
        _write_files(temporary, name, images)
        if folder.exists():
            shutil.rmtree(folder)
        temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    sync_folder(folder.parent)


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


def _write_files(folder: Path, name: str, images: ImageSet) -> None:
    arrays = {"images.npy": images.images, "splits.npy": images.splits, "attributes.npy": images.attributes}
    files = {file: _write_array(folder / file, array) for file, array in arrays.items() if array is not None}
    meta = _Meta(LAYOUT, name, fingerprint(images), images.attribute_names, images.notes, images.skipped_images, files)
    with (folder / _META).open("x", encoding="utf-8") as file:
        json.dump(asdict(meta), file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    sync_folder(folder)


def _write_array(path: Path, array: Bytes) -> int:
    with path.open("xb") as file:
        np.save(file, np.ascontiguousarray(array), allow_pickle=False)
        file.flush()
        os.fsync(file.fileno())
    return path.stat().st_size


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
