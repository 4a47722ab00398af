"""What the text files of several data sets have in common."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from genbench.errors import GenbenchError


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


def lines_of(path: Path) -> list[str]:
    """Return the lines up to the last that is not blank."""
    try:
        return path.read_text("utf-8-sig").rstrip().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise GenbenchError(f"{path}: can't be read: {error}", "copy or download it again") from error


def malformed(path: Path, line: int, expected: str) -> GenbenchError:
    """Return the error of a line that is not of its file's form."""
    return GenbenchError(f"{path}: line {line}: {expected}", "copy or download the official file again")
