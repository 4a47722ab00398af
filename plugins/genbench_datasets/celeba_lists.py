"""CelebA's text files."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from genbench.errors import GenbenchError

_TRUTH = {"-1": 0, "1": 1}


@dataclass(frozen=True)
class Attributes:
    """The attribute list.

    Attributes:
        names: A names, as in the header.
        rows: for each file name, A bytes of 0 or 1.
    """

    names: tuple[str, ...]
    rows: dict[str, bytes]

    def table(self, files: Sequence[str]) -> npt.NDArray[np.uint8]:
        """Return (N, A) in {0, 1}, a row for each of these file names."""
        joined = b"".join(self.rows[name] for name in files)
        return np.frombuffer(joined, np.uint8).reshape(len(files), len(self.names))


def read_attributes(path: Path) -> Attributes:
    """Read `list_attr_celeba.txt`: the number of images, the attributes' names, then a line for each image with ±1.

    Raises:
        GenbenchError: it is not of this form, or ends early.
    """
    lines = _lines(path)
    if len(lines) < 3 or not lines[0].strip().isdecimal():
        raise _malformed(path, 1, "expected the number of images, then a line of names, then the images")
    names = tuple(lines[1].split())
    if len(set(names)) != len(names):
        raise _malformed(path, 2, "a name stands twice")
    rows: dict[str, bytes] = {}
    for number, line in enumerate(lines[2:], 3):
        name, *values = line.split() or [""]
        if len(values) != len(names) or not _TRUTH.keys() >= set(values):
            raise _malformed(path, number, f"expected a file name and {len(names)} values of 1 or -1")
        if name in rows:
            raise _malformed(path, number, f"{name} stands twice")
        rows[name] = bytes(map(_TRUTH.__getitem__, values))
    if len(rows) != int(lines[0]):
        raise GenbenchError(
            f"{path}: announces {int(lines[0]):,} images and lists {len(rows):,}", "copy or download it again"
        )
    return Attributes(names, rows)


def read_partition(path: Path) -> dict[str, int]:
    """Read `list_eval_partition.txt`: a line for each image with 0 (train), 1 (validation) or 2 (test).

    Raises:
        GenbenchError: it is not of this form.
    """
    partition: dict[str, int] = {}
    for number, line in enumerate(_lines(path), 1):
        name, *values = line.split() or [""]
        if len(values) != 1 or values[0] not in ("0", "1", "2"):
            raise _malformed(path, number, "expected a file name and 0, 1 or 2")
        if name in partition:
            raise _malformed(path, number, f"{name} stands twice")
        partition[name] = int(values[0])
    return partition


def _lines(path: Path) -> list[str]:
    """Return the lines up to the last that is not blank."""
    try:
        return path.read_text("utf-8-sig").rstrip().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise GenbenchError(f"{path}: can't be read: {error}", "copy or download it again") from error


def _malformed(path: Path, line: int, expected: str) -> GenbenchError:
    return GenbenchError(f"{path}: line {line}: {expected}", "copy or download the official file again")
