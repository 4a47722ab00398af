"""Small files in the official forms of data sets that tests have no real images of."""

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

TRAIN, TEST = 24, 16
"""Images that train, about, and that test: a run draws its reconstructions in rows of 16."""


def write_mnist(folder: Path) -> None:
    """Write MNIST's idx files, of smooth noise in grey."""
    for part, count in (("train", TRAIN), ("t10k", TEST)):
        images, labels = _smooth(count, 28)[..., 0], (np.arange(count) % 10).astype(np.uint8)
        for kind, array in (("images-idx3", images), ("labels-idx1", labels)):
            content = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()
            (folder / f"{part}-{kind}-ubyte").write_bytes(content)


def write_cifar10(folder: Path) -> None:
    """Write CIFAR-10's binary batches."""
    inside = folder / "cifar-10-batches-bin"
    inside.mkdir()
    for number, name in enumerate([*(f"data_batch_{n}.bin" for n in range(1, 6)), "test_batch.bin"]):
        count = TEST if name == "test_batch.bin" else 6
        planes = _smooth(count, 32, number).transpose(0, 3, 1, 2).reshape(count, -1)
        labels = (np.arange(count) % 10).astype(np.uint8)[:, None]
        (inside / name).write_bytes(np.hstack([labels, planes]).tobytes())


def write_stl10(folder: Path) -> None:
    """Write STL-10's binary files: of each image three planes, column by column."""
    inside = folder / "stl10_binary"
    inside.mkdir()
    for number, (name, count) in enumerate((("train", 8), ("unlabeled", TRAIN), ("test", TEST))):
        (inside / f"{name}_X.bin").write_bytes(_smooth(count, 96, number).transpose(0, 3, 2, 1).tobytes())
        (inside / f"{name}_y.bin").write_bytes((np.arange(count) % 10 + 1).astype(np.uint8).tobytes())


def write_lfw(folder: Path) -> None:
    """Write the deep-funneled folder, a person an image; whose name's hash says so tests."""
    for number, image in enumerate(_smooth(72, 250)):
        person = folder / "lfw-deepfunneled" / f"Person_{chr(65 + number // 26)}{chr(97 + number % 26)}"
        person.mkdir(parents=True)
        Image.fromarray(image).save(person / f"{person.name}_0001.jpg")


def write_celeba(folder: Path) -> None:
    """Write the unpacked images and both lists; one image validates."""
    (folder / "img_align_celeba").mkdir()
    names = [f"{number:06}.jpg" for number in range(TRAIN + 1 + TEST)]
    for name, image in zip(names, _smooth(len(names), 218), strict=True):
        Image.fromarray(image[:, :178]).save(folder / "img_align_celeba" / name)
    rows = [f"{name} {1 if number % 2 else -1}" for number, name in enumerate(names)]
    (folder / "list_attr_celeba.txt").write_text("\n".join([str(len(names)), "Smiling", *rows]) + "\n")
    splits = [0] * TRAIN + [1] + [2] * TEST
    lines = [f"{name} {split}" for name, split in zip(names, splits, strict=True)]
    (folder / "list_eval_partition.txt").write_text("\n".join(lines) + "\n")


WRITE: dict[str, Callable[[Path], None]] = {
    "mnist": write_mnist,
    "cifar10": write_cifar10,
    "stl10": write_stl10,
    "lfw": write_lfw,
    "celeba": write_celeba,
}


def _smooth(count: int, side: int, seed: int = 0) -> np.ndarray:
    """Return (count, side, side, 3) uint8 without hard edges."""
    coarse = np.random.default_rng(seed).integers(0, 256, (count, 4, 4, 3), np.uint8)
    size = (side, side)
    return np.stack([np.asarray(Image.fromarray(c).resize(size, Image.Resampling.BILINEAR)) for c in coarse])
