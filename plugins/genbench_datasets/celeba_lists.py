"""CelebA's text files."""

from pathlib import Path

from genbench.errors import GenbenchError
from genbench_datasets.lists import Attributes, lines_of, malformed

_TRUTH = {"-1": 0, "1": 1}


def read_attributes(path: Path) -> Attributes:
    """Read `list_attr_celeba.txt`: the number of images, the attributes' names, then a line for each image with ±1.

    Raises:
        GenbenchError: it is not of this form, or ends early.
    """
    lines = lines_of(path)
    if len(lines) < 3 or not lines[0].strip().isdecimal():
        raise malformed(path, 1, "expected the number of images, then a line of names, then the images")
    names = tuple(lines[1].split())
    if len(set(names)) != len(names):
        raise malformed(path, 2, "a name stands twice")
    rows: dict[str, bytes] = {}
    for number, line in enumerate(lines[2:], 3):
        name, *values = line.split() or [""]
        if len(values) != len(names) or not _TRUTH.keys() >= set(values):
            raise malformed(path, number, f"expected a file name and {len(names)} values of 1 or -1")
        if name in rows:
            raise malformed(path, number, f"{name} stands twice")
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
    for number, line in enumerate(lines_of(path), 1):
        name, *values = line.split() or [""]
        if len(values) != 1 or values[0] not in ("0", "1", "2"):
            raise malformed(path, number, "expected a file name and 0, 1 or 2")
        if name in partition:
            raise malformed(path, number, f"{name} stands twice")
        partition[name] = int(values[0])
    return partition
