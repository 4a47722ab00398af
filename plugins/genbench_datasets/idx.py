"""MNIST (LeCun et al. 1998) and Fashion-MNIST (Xiao et al. 2017, arXiv 1708.07747), which share the idx file format."""

import gzip
import math
import re
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from genbench.errors import GenbenchError
from genbench.interfaces import DataRequest, Dataset, ImageSet
from genbench_datasets.fetching import fetch
from genbench_datasets.pictures import one_hot, resize_grey, split_by_index

_PARTS = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
_UNSIGNED_BYTE = 0x08
_FOLDERS = ("MNIST", "FashionMNIST")


class Mnist(Dataset):
    """Handwritten digits: the official test images test, the last twelfth (5,000) of the others validate.

    Reads plain or gzipped idx files in `source`, in its `raw`, or where torchvision puts them; an attribute a class.
    """

    folder: ClassVar[str] = "MNIST"
    classes: ClassVar[tuple[str, ...]] = tuple(f"digit-{digit}" for digit in range(10))

    def files(self, request: DataRequest) -> Sequence[Path]:
        if request.source is None:
            return self._downloaded(request.downloads)
        places = _places(request.source, self.folder)
        for place in places:
            found = _parts_in(place)
            if len(found) == len(_PARTS):
                return found
            if found:
                there = {path.name.removesuffix(".gz") for path in found}
                lacking = ", ".join(part for part in _PARTS if part not in there)
                raise GenbenchError(
                    f"{place}: half of {self.folder}: {lacking} missing, plain or with .gz", "copy them there too"
                )
        looked = ", ".join(map(str, places)) or f"{request.source}, which is another data set's"
        raise GenbenchError(
            f"no {self.folder} in {request.source}: looked for {_PARTS[0]} and the like, plain or .gz, in {looked}",
            "name the folder that holds them, or leave `--data` and GENBENCH_DATA away and they are downloaded",
        )

    def prepare(self, request: DataRequest) -> ImageSet:
        train_images, train_labels, test_images, test_labels = self.files(request)
        train = read_labelled(train_images, train_labels, len(self.classes))
        test = read_labelled(test_images, test_labels, len(self.classes))
        if train[0].shape[1:] != test[0].shape[1:]:
            raise GenbenchError(
                f"{test_images}: images of {test[0].shape[1:]}, those of {train_images} are {train[0].shape[1:]}"
            )
        counts = (len(train[0]) - len(train[0]) // 12, len(train[0]) // 12, len(test[0]))
        official = (len(train[0]), len(test[0])) == (60_000, 10_000)
        return ImageSet(
            images=resize_grey(np.concatenate((train[0], test[0])), request.size, request.progress),
            splits=split_by_index(*counts),
            attributes=one_hot(np.concatenate((train[1], test[1])), len(self.classes)),
            attribute_names=self.classes,
            notes=() if official else (f"{len(train[0]):,} + {len(test[0]):,} images instead of 60,000 + 10,000",),
        )

    def _downloaded(self, downloads: Path) -> list[Path]:
        import torchvision

        raw = downloads / self.folder / "raw"
        source = getattr(torchvision.datasets, self.folder)  # knows the mirrors and the checksums
        for name, md5 in source.resources:
            if not (raw / name).is_file() and not (raw / name).with_suffix("").is_file():
                fetch(tuple(mirror + name for mirror in source.mirrors), raw / name, md5)
        return _parts_in(raw)


class FashionMnist(Mnist):
    """Pictures of clothes, in MNIST's format and split."""

    folder = "FashionMNIST"
    classes = (
        "t-shirt",
        "trouser",
        "pullover",
        "dress",
        "coat",
        "sandal",
        "shirt",
        "sneaker",
        "bag",
        "ankle-boot",
    )


def read_idx(path: Path, dimensions: int) -> npt.NDArray[np.uint8]:
    """Read an idx file of bytes: 0, 0, 8, the number of dimensions, each of them as big-endian uint32, then the data.

    Raises:
        GenbenchError: it is of another kind, or its length is not what its header announces.
    """
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise GenbenchError(f"{path}: can't be read: {error}", "copy or download it again") from error
    head = 4 + 4 * dimensions
    if content[:4] != bytes((0, 0, _UNSIGNED_BYTE, dimensions)) or len(content) < head:
        raise GenbenchError(
            f"{path}: not an idx file of bytes with {dimensions} dimensions: starts with {content[:4].hex(' ')}"
        )
    shape = struct.unpack(f">{dimensions}I", content[4:head])
    if len(content) - head != math.prod(shape):
        announced = "×".join(map(str, shape))
        raise GenbenchError(
            f"{path}: announces {announced} bytes and holds {len(content) - head:,}", "copy or download it again"
        )
    return np.frombuffer(content, np.uint8, offset=head).reshape(shape)


def read_labelled(
    image_file: Path, label_file: Path, classes: int
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Read images (N, H, W) and their labels (N,), each below `classes`."""
    images, labels = read_idx(image_file, 3), read_idx(label_file, 1)
    if len(images) != len(labels):
        raise GenbenchError(f"{image_file}: {len(images):,} images, but {len(labels):,} labels in {label_file.name}")
    if not images.size:
        raise GenbenchError(f"{image_file}: no images")
    if labels.max() >= classes:
        raise GenbenchError(f"{label_file}: label {labels.max()}, expected less than {classes}")
    return images, labels


def _places(source: Path, folder: str) -> list[Path]:
    """Return where to look: the two sets' files have the same names, so a folder named after the other is left out."""
    others = {other.lower() for other in _FOLDERS if other != folder}
    candidates = (source / folder / "raw", source / folder, source / "raw", source)
    return [
        place
        for place in candidates
        if not others & {re.sub("[-_ ]", "", part.lower()) for part in place.absolute().parts[-2:]}
    ]


def _parts_in(folder: Path) -> list[Path]:
    found = ((folder / part, folder / f"{part}.gz") for part in _PARTS)
    return [path for pair in found if (path := next((p for p in pair if p.is_file()), None))]
