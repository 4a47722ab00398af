"""CIFAR-10 (Krizhevsky 2009), from its binary version.

The usual "python version" is a pickle, which can run any code when it is read, so it never is.
"""

import tarfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from genbench.errors import GenbenchError
from genbench.interfaces import DataRequest, Dataset, ImageSet
from genbench_datasets.fetching import fetch
from genbench_datasets.pictures import one_hot, split_by_index

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

_URL = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
_MD5 = "c32a1d4ab5d03f1284b67883e8d87530"
_ARCHIVE, _FOLDER = "cifar-10-binary.tar.gz", "cifar-10-batches-bin"
_BATCHES = (*(f"data_batch_{number}.bin" for number in range(1, 6)), "test_batch.bin")
_RECORD = 1 + 3 * 32 * 32  # a label, then the red, the green and the blue plane


class Cifar10(Dataset):
    """Photographs: the official test images test, the last tenth (5,000) of the others validate; an attribute a class.

    Reads the folder `cifar-10-batches-bin` or the archive `cifar-10-binary.tar.gz`.
    """

    def files(self, request: DataRequest) -> Sequence[Path]:
        if request.source is None:
            archive = request.downloads / _ARCHIVE
            if not archive.is_file():
                fetch((_URL,), archive, _MD5)
            return (archive,)
        return _find(request.source)

    def prepare(self, request: DataRequest) -> ImageSet:
        paths = self.files(request)
        archived = len(paths) == 1
        where = paths[0] if archived else paths[0].parent
        contents = _unpack(where) if archived else {path.name: path.read_bytes() for path in paths}
        batches = [_decode(f"{where}: {name}", contents[name]) for name in _BATCHES]
        images = np.concatenate([batch[0] for batch in batches])
        labels = np.concatenate([batch[1] for batch in batches])
        test = len(batches[-1][0])
        validation = (len(images) - test) // 10
        official = (len(images), test) == (60_000, 10_000)
        return ImageSet(
            images=_resize(images, request),
            splits=split_by_index(len(images) - test - validation, validation, test),
            attributes=one_hot(labels, len(CLASSES)),
            attribute_names=CLASSES,
            notes=() if official else (f"{len(images) - test:,} + {test:,} images instead of 50,000 + 10,000",),
        )


def _find(source: Path) -> tuple[Path, ...]:
    if source.is_file() and source.name.endswith(".tar.gz"):
        return (source,)
    for folder in (source / _FOLDER, source, source / "cifar10" / _FOLDER, source / "cifar10"):
        there = [name for name in _BATCHES if (folder / name).is_file()]
        if len(there) == len(_BATCHES):
            return tuple(folder / name for name in _BATCHES)
        if there:
            missing = ", ".join(name for name in _BATCHES if name not in there)
            raise GenbenchError(f"{folder}: half of CIFAR-10: {missing} missing", f"unpack {_ARCHIVE} again")
        if (folder / _ARCHIVE).is_file():
            return (folder / _ARCHIVE,)
    pickled = any((source / name).exists() for name in ("cifar-10-batches-py", "cifar-10-python.tar.gz"))
    raise GenbenchError(
        f"no CIFAR-10 in {source}: looked for {_FOLDER}/{_BATCHES[0]} and the like and for {_ARCHIVE}, "
        "there and in its folder cifar10"
        + ("; its python version is there, but is a pickle, which genbench never reads" if pickled else ""),
        f"get the binary version from {_URL}, or leave `--data` and GENBENCH_DATA away and it is downloaded",
    )


def _unpack(archive: Path) -> dict[str, bytes]:
    """Read the batches out of the archive, by name, without unpacking it to disk."""
    contents = {}
    try:
        with tarfile.open(archive) as tar:
            for name in _BATCHES:
                member = tar.extractfile(f"{_FOLDER}/{name}")
                contents[name] = member.read() if member else b""
    except (tarfile.TarError, OSError, EOFError, KeyError) as error:
        raise GenbenchError(
            f"{archive}: not CIFAR-10's binary archive: {error}", f"get it again from {_URL}"
        ) from error
    return contents


def _decode(where: str, content: bytes) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Return images (N, 32, 32, 3) and labels (N,)."""
    if not content or len(content) % _RECORD:
        raise GenbenchError(
            f"{where}: {len(content):,} bytes, expected a multiple of {_RECORD}", f"get it again from {_URL}"
        )
    records = np.frombuffer(content, np.uint8).reshape(-1, _RECORD)
    if records[:, 0].max() >= len(CLASSES):
        raise GenbenchError(
            f"{where}: label {records[:, 0].max()}, expected less than {len(CLASSES)}", f"get it again from {_URL}"
        )
    return records[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1), records[:, 0]


def _resize(images: npt.NDArray[np.uint8], request: DataRequest) -> npt.NDArray[np.uint8]:
    if request.size == 32:
        return np.ascontiguousarray(images)
    size = (request.size, request.size)
    resized = np.empty((len(images), *size, 3), np.uint8)
    for place, image in enumerate(images):
        resized[place] = np.asarray(Image.fromarray(np.ascontiguousarray(image)).resize(size, Image.Resampling.BICUBIC))
        if place % 1024 == 1023 or place + 1 == len(images):
            request.progress(place + 1, len(images))
    return resized
