"""`curve.jsonl`: the training curve, a row of means for every so many steps. Imports no torch."""

import json
import math
from typing import TYPE_CHECKING

from genbench.errors import GenbenchError
from genbench.store import RunFolder, append, write_atomic

if TYPE_CHECKING:
    from genbench.train.checkpoint import Progress
    from genbench.train.ledger import Reading


class Curve:
    """Appends rows; resuming cuts those that the checkpoint lacks."""

    def __init__(self, folder: RunFolder, progress: "Progress") -> None:
        self.path = folder.curve_path
        rows = self.path.read_text().splitlines() if self.path.exists() else []
        # Where the checkpoint's window is open, a row that ends with the checkpoint was written when training diverged.
        last = progress.images_seen - (1 if progress.window_steps else 0)
        kept = [row for row in rows if _finite(row).get("images_seen", math.inf) <= last]
        write_atomic(self.path, "".join(f"{row}\n" for row in kept))

    def write_row(self, images_seen: int, reading: "Reading") -> dict[str, float]:
        """Append the means that are finite."""
        row = {"images_seen": float(images_seen)}
        row |= {name: mean for name, mean in reading.means().items() if math.isfinite(mean)}  # a sum may overflow
        append(self.path, json.dumps(row, allow_nan=False) + "\n")
        return row


def read_curve(folder: RunFolder) -> tuple[dict[str, float], ...]:
    """Return the rows of a run's curve, or nothing where it has none.

    Only finite numbers are there; a row may lack any column but `images_seen`, and one that a kill cut in half is left
    out.

    Raises:
        GenbenchError: it is there and can't be read.
    """
    try:
        lines = folder.curve_path.read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise GenbenchError(
            f"{folder.curve_path}: can't be read: {error.strerror}", "make it readable, or delete it"
        ) from error
    return tuple(row for line in lines if "images_seen" in (row := _finite(line)))


def _finite(line: str) -> dict[str, float]:
    """Return the finite numbers of a row; none where it is cut in half."""
    try:
        values = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    items = values.items() if isinstance(values, dict) else ()
    return {name: float(value) for name, value in items if _is_finite(value)}


def _is_finite(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < math.inf
