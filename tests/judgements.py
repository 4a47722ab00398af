"""A made-up folder in the layout of BAPPS, of which a test knows who agrees with whom."""

from pathlib import Path

import numpy as np
from PIL import Image

SETS = ("traditional", "cnn", "superres", "deblur", "color", "frameinterp")
PREFERRING = (0.0, 0.2, 0.6, 1.0)
"""The share of people to whom p1 was more like ref, of each triplet of a set."""


def write_bapps(folder: Path, side: int = 64) -> Path:
    """Write four triplets a set: p0 is nearer to ref in pixels but in the last one, where both are one image."""
    for place, name in enumerate(SETS):
        own = folder / "2afc" / "val" / name
        for part in ("ref", "p0", "p1", "judge"):
            (own / part).mkdir(parents=True)
        for index, share in enumerate(PREFERRING):
            write_triplet(
                own, f"{index:06}", share, seed=10 * place + index, same=index == len(PREFERRING) - 1, side=side
            )
    return folder


def write_triplet(own: Path, stem: str, share: float, *, seed: int, same: bool, side: int) -> None:
    drawn = np.random.default_rng(seed)
    coarse = drawn.integers(60, 190, (side // 8, side // 8, 3))
    reference = coarse.repeat(8, 0).repeat(8, 1)
    near, far = reference + 8, reference + (8 if same else 40)
    for part, values in (("ref", reference), ("p0", near), ("p1", far)):
        Image.fromarray(values.astype(np.uint8)).save(own / part / f"{stem}.png")
    np.save(own / "judge" / f"{stem}.npy", np.array([share], np.float32))
