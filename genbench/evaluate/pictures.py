"""The pictures that every run leaves in its folder, so that nobody trusts a number alone."""

import io
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from genbench.errors import NotApplicable
from genbench.evaluate.context import EvaluationContext
from genbench.images import to_uint8
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


def grid_png(images: Tensor, columns: int) -> bytes:
    """Lay uint8 images (N, C, H, W) out in rows and return them as a PNG; the last row is filled with black."""
    count, channels, height, width = images.shape
    rows = -(-count // columns)
    canvas = torch.zeros(rows * columns, channels, height, width, dtype=torch.uint8)
    canvas[:count] = images.cpu()
    tiles = canvas.reshape(rows, columns, channels, height, width).permute(0, 3, 1, 4, 2)
    grid = tiles.reshape(rows * height, columns * width, channels)
    buffer = io.BytesIO()
    Image.fromarray(grid.squeeze(2).numpy()).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()
