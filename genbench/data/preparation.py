"""Preparing a data set once: what was prepared from the same files with the same settings is opened, not made again."""

import errno
import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from stat import S_ISDIR

import numpy as np
import numpy.typing as npt
from filelock import FileLock, Timeout

from genbench.config import DataConfig
from genbench.data.packed import LAYOUT, PackedDataset, drafting, read_packed
from genbench.errors import GenbenchError
from genbench.interfaces import DataRequest, Dataset, ImageSet
from genbench.loading import content_of
from genbench.specs import DatasetSpec

MEND = "the plugin's `prepare` must be mended; what it must return stands at `genbench.interfaces.ImageSet`"
"""Hint of the errors that are a plugin's own fault, and not its files'."""


def prepare(
    spec: DatasetSpec,
    dataset: Dataset,
    config: DataConfig,
    source: Path | None,
    cache: Path,
    progress: Callable[[int, int], None],
) -> PackedDataset:
    """Return the data set, packed; made now, or earlier by any process from the same files with the same settings.

    Args:
        spec: the data set's declaration.
        dataset: built with `config.settings`.
        config: size and settings.
        source: where the user's data lies, or None.
        cache: genbench's cache, from `cache_folder()`.
        progress: called with (images done, images in all), from any thread.

    Raises:
        GenbenchError: data is missing or bad, the plugin returns nonsense, or the cache can't be written.
    """
    request = DataRequest(source, cache / "downloads", config.size, config.skip_bad_images, progress)
    with _locked(cache / "downloads" / f".{spec.name}.lock"):
        files = dataset.files(request)
    folder = cache / "datasets" / f"{spec.name}-{config.size}-{_key(spec, dataset, config, source, files)}"
    packed = read_packed(folder)
    if packed is None:
        with _locked(_lock_of(folder)):
            packed = read_packed(folder) or _prepare(spec, dataset, request, folder)
    return packed


def _prepare(spec: DatasetSpec, dataset: Dataset, request: DataRequest, folder: Path) -> PackedDataset:
    _remove_left_overs(folder)
    with drafting(folder) as draft:

        def allocate(shape: tuple[int, ...]) -> npt.NDArray[np.uint8]:
            with _writing(folder):
                return draft.allocate(shape)

        images = dataset.prepare(replace(request, allocate=allocate))
        _check(spec, images, request.size)
        with _writing(folder):
            draft.finish(spec.name, images)
    packed = read_packed(folder)
    if packed is None:
        raise GenbenchError(
            f"{spec.name}: {folder} can't be read back", "check the disk, or set GENBENCH_CACHE to another one"
        )
    return packed


def _remove_left_overs(folder: Path) -> None:
    """Remove drafts of processes that were killed: those of `folder`, whose lock is ours, and where no lock is held."""
    for left_over in folder.parent.glob("*.tmp"):
        name = left_over.name.rsplit(".", 2)[0]
        if name == folder.name:
            shutil.rmtree(left_over, ignore_errors=True)
            continue
        with suppress(Timeout, OSError), FileLock(_lock_of(folder.with_name(name)), timeout=0):
            shutil.rmtree(left_over, ignore_errors=True)


def _lock_of(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.lock")


def _key(spec: DatasetSpec, dataset: Dataset, config: DataConfig, source: Path | None, files: Sequence[Path]) -> str:
    """Return a hash of all that decides what `prepare` returns, and of the layout of what is written."""
    content = {
        "layout": LAYOUT,
        "dataset": [spec.name, spec.target, dataset.version],
        **content_of(dataset),
        "config": config.model_dump(mode="json"),
        # a set without files is generated: where other data lies is nothing to it
        "source": str(source.absolute()) if source and files else None,
    }
    digest = sha256(json.dumps(content, sort_keys=True).encode())
    for state in _states(spec, [str(path.absolute()) for path in files]):
        digest.update(state)
    return digest.hexdigest()[:16]


def _states(spec: DatasetSpec, paths: Sequence[str]) -> Iterator[bytes]:
    """Yield path, size and time of each file, and then of those that lie in a folder among the paths."""
    folders = []
    for path in paths:
        try:
            state = os.stat(path)  # noqa: PTH116 -- no Path for each of 200,000 files, which would take as long again
        except OSError as error:
            raise _unreadable(spec, error) from error
        if S_ISDIR(state.st_mode):
            folders.append(path)
        else:
            yield b"%s\0%d\0%d\0" % (os.fsencode(path), state.st_size, state.st_mtime_ns)
    for folder in folders:
        yield from _states(spec, _files_in(spec, folder))


def _files_in(spec: DatasetSpec, folder: str) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entry.path for entry in entries if not entry.name.startswith(".") and not entry.is_dir())
    except OSError as error:
        raise _unreadable(spec, error) from error


def _unreadable(spec: DatasetSpec, error: OSError) -> GenbenchError:
    return GenbenchError(
        f"{spec.name}: can't read {error.filename}: {error.strerror}", "check that it is there and readable"
    )


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Wait until no other process holds the lock, and hold it; the kernel frees it however this process ends."""
    lock = FileLock(path)
    with _writing(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    """Explain why a folder of the cache can't be written."""
    try:
        yield
    except NotImplementedError as error:
        raise GenbenchError(
            f"{folder}: this file system has no locks", "set GENBENCH_CACHE to a folder on a local disk"
        ) from error
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        raise GenbenchError(
            f"can't write genbench's cache {folder}: {error.strerror or error}",
            f"{'free some space there' if full else 'make it writable'}, or set GENBENCH_CACHE to another folder",
            exit_code=1 if full else 2,
        ) from error


def _check(spec: DatasetSpec, images: ImageSet, size: int) -> None:
    """Refuse what a plugin must not return."""
    _demand(spec, isinstance(images, ImageSet), f"`prepare` returned {_kind(images)}, expected an ImageSet")
    pixels = images.images
    _demand(
        spec, isinstance(pixels, np.ndarray) and pixels.dtype == np.uint8, f"images are {_kind(pixels)}, expected uint8"
    )
    shape = (len(pixels), size, size, spec.channels)
    _demand(spec, pixels.shape == shape, f"images have the shape {pixels.shape}, expected {shape}")
    splits = images.splits
    _demand(
        spec, isinstance(splits, np.ndarray) and splits.dtype == np.uint8, f"splits are {_kind(splits)}, expected uint8"
    )
    _demand(spec, splits.shape == shape[:1], f"splits have the shape {splits.shape}, expected {shape[:1]}")
    _demand(spec, not (splits > 2).any(), f"splits hold {splits.max(initial=0)}, expected 0, 1 and 2")
    _demand(spec, bool((splits == 0).any()), "there is no training image")
    _check_attributes(spec, images)


def _check_attributes(spec: DatasetSpec, images: ImageSet) -> None:
    values, names = images.attributes, images.attribute_names
    _demand(
        spec,
        len(set(names)) == len(names),
        "attribute names stand twice: " + ", ".join(sorted(n for n in set(names) if names.count(n) > 1)),
    )
    if values is None:
        _demand(spec, not names, f"{len(names)} attribute names, but no attributes")
        return
    _demand(
        spec,
        isinstance(values, np.ndarray) and values.dtype == np.uint8,
        f"attributes are {_kind(values)}, expected uint8",
    )
    shape = (len(images.images), len(names))
    _demand(
        spec,
        values.shape == shape,
        f"attributes have the shape {values.shape}, expected {shape} for {len(names)} names",
    )
    _demand(spec, not (values > 1).any(), f"attributes hold {values.max(initial=0)}, expected 0 and 1")


def _demand(spec: DatasetSpec, holds: bool, complaint: str) -> None:
    if not holds:
        raise GenbenchError(f"data set {spec.name} ({spec.target}): {complaint}", MEND)


def _kind(value: object) -> str:
    return str(getattr(value, "dtype", type(value).__name__))
