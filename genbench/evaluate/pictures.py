"""The pictures that every run leaves in its folder, so that nobody trusts a number alone."""

from pathlib import Path

import torch

from genbench.errors import NotApplicable
from genbench.evaluate.context import EvaluationContext
from genbench.images import grid_png, to_uint8
from genbench.store import write_atomic

SAMPLES, COLUMNS = 64, 16
"""Images of a grid of samples, and of one row of any grid."""


def write_pictures(context: EvaluationContext, folder: Path) -> None:
    """Write `samples.png` and, where the model reconstructs, `reconstructions.png`: test images over theirs."""
    samples = torch.cat(list(context.samples(SAMPLES)))
    write_atomic(folder / "samples.png", grid_png(samples, COLUMNS))
    try:
        real, reconstructed = next(iter(context.reconstructions("test")))
    except NotApplicable:
        return
    rows = [
        pair for i in range(0, 4 * COLUMNS, COLUMNS) for pair in (real[i : i + COLUMNS], reconstructed[i : i + COLUMNS])
    ]
    full = [row for row in rows if len(row) == COLUMNS]
    if full:
        write_atomic(folder / "reconstructions.png", grid_png(to_uint8(torch.cat(full)), COLUMNS))
