"""`curve.jsonl`: the training curve, a row of means for every so many steps."""

import json
import math

from genbench.store import RunFolder, append, write_atomic
from genbench.train.checkpoint import Progress
from genbench.train.ledger import Reading


class Curve:
    """Appends rows; resuming cuts those that the checkpoint lacks."""

    def __init__(self, folder: RunFolder, progress: Progress) -> None:
        self.path = folder.curve_path
        rows = self.path.read_text().splitlines() if self.path.exists() else []
        # Where the checkpoint's window is open, a row that ends with the checkpoint was written when training diverged.
        last = progress.images_seen - (1 if progress.window_steps else 0)
        kept = [row for row in rows if _images_seen(row) <= last]
        write_atomic(self.path, "".join(f"{row}\n" for row in kept))

    def write_row(self, images_seen: int, reading: Reading) -> dict[str, float]:
        """Append the means that are finite."""
        row = {"images_seen": float(images_seen)}
        row |= {name: mean for name, mean in reading.means().items() if math.isfinite(mean)}  # a sum may overflow
        append(self.path, json.dumps(row, allow_nan=False) + "\n")
        return row


def read_curve(folder: RunFolder) -> tuple[dict[str, float], ...]:
    """Return the rows of a run's curve; one that a kill cut in half is left out."""
    if not folder.curve_path.exists():
        return ()
    rows = folder.curve_path.read_text(encoding="utf-8", errors="replace").splitlines()
    return tuple({str(k): float(v) for k, v in json.loads(row).items()} for row in rows if _images_seen(row) < math.inf)


def _images_seen(row: str) -> float:
    """Return a row's progress; a row that a kill cut in half counts as past everything."""
    try:
        return float(json.loads(row)["images_seen"])
    except (ValueError, KeyError, TypeError):
        return math.inf
