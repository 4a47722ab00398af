"""The film of a training: frames that `train/film.py` left in a run's folder, captioned and larger, as GIF or MP4."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from genbench.comparability import plural
from genbench.errors import GenbenchError, first_line
from genbench.report.animation import gif, mp4
from genbench.report.pictures import enlargement, grid, titled
from genbench.store import RunFolder

ROWS = {1: ("samples",), 3: ("samples", "real", "reconstructed")}
HOLD_S = 3.0
"""How much longer than any other the last frame is shown, in seconds."""


@dataclass(frozen=True)
class Frame:
    """What a run had learned after so many images.

    Attributes:
        rows: uint8 (rows, columns, C, H, W): samples, and where the model encodes, images and their reconstructions.
    """

    images_seen: int
    rows: Tensor


def read_frames(folder: RunFolder, size: int) -> list[Frame]:
    """Return the frames of a run whose images have a side of `size` pixels, in the order in which they were taken.

    Raises:
        GenbenchError: there are none, or one is none of this run's.
    """
    paths = sorted(path for path in folder.film_path.glob("*.png") if path.stem.isdecimal())
    if not paths:
        raise GenbenchError(
            f"{folder.path}: no film of its training",
            f"older versions of genbench took none; where one could not be taken, {folder.log_path.name} says why",
        )
    frames = []
    for path in paths:
        try:
            with Image.open(path, formats=("PNG",)) as picture:
                pixels = np.array(picture if picture.mode == "L" else picture.convert("RGB"))
        except (OSError, ValueError, Image.DecompressionBombError) as error:
            raise GenbenchError(
                f"{path}: {first_line(error)}", "delete this frame, and the film goes on without"
            ) from error
        frames.append(Frame(int(path.stem), _rows(pixels, size)))
    shapes = {frame.rows.shape for frame in frames}
    if len(shapes) > 1 or 0 in next(iter(shapes)):
        raise GenbenchError(
            f"{folder.film_path}: frames that are not of this run, whose images have {size} px",
            "leave in this folder only what `genbench run` wrote there",
        )
    return frames


def compose(frames: Sequence[Frame]) -> list[Image.Image]:
    """Return frames as they are shown: enlarged, their rows named, and above them how many images were seen."""
    rows, columns, _, _, size = frames[0].rows.shape
    return [
        titled(
            grid(frame.rows.flatten(0, 1), columns, scale=enlargement(size, columns), rows=ROWS[rows]),
            f"{frame.images_seen:,} training {plural('image', frame.images_seen)} seen",
        )
        for frame in frames
    ]


def animate(pictures: Sequence[Image.Image], form: str, fps: float) -> bytes:
    """Return pictures as a film, `gif` or `mp4`, of so many a second, whose last stays for `HOLD_S` more.

    Raises:
        GenbenchError: more a second than the form has, or ffmpeg is missing or fails.
    """
    if form == "gif":
        return gif(pictures, fps, hold_s=HOLD_S)
    return mp4([*pictures, *[pictures[-1]] * round(HOLD_S * fps)], fps)


def _rows(pixels: npt.NDArray[np.uint8], size: int) -> Tensor:
    """Return the images of a frame, uint8 (rows, columns, C, size, size); none, where it is no such frame."""
    height, width = pixels.shape[:2]
    channels = 1 if pixels.ndim == 2 else pixels.shape[2]
    rows, columns = height // size, width // size
    if rows not in ROWS or (rows * size, columns * size) != (height, width):
        return torch.zeros(0, dtype=torch.uint8)
    return torch.from_numpy(pixels).reshape(rows, size, columns, size, channels).permute(0, 2, 4, 1, 3)
