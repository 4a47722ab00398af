"""Pictures of many images: laid out in rows and columns, named at their borders, and written as WebP. Pure.

Text stands beside images, never on them. It is set in DejaVu Sans, which Matplotlib brings along: the same on every
machine, with Greek, Cyrillic and a true minus.
"""

import io
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from genbench.errors import GenbenchError
from genbench.images import tiled
from genbench.tables import clean

TEXT, MARGIN = 12, 4
"""Size of letters, and the room around a caption, in pixels."""

LONGEST = 48
"""Characters of a caption that are shown."""

LOSSLESS = 64
"""Side of the largest images that WebP holds without loss: of larger ones the page would grow too large."""

QUALITY = 90
"""Of WebP with loss, of 100."""

WEBP_LIMIT = 16_383
"""Pixels on a side, which WebP can't exceed."""

LARGEST = 2**28
"""Pixels of a picture: what is larger takes gigabytes to write and can't be opened by most viewers."""

WIDTH = 512
"""What a picture should measure at least, in pixels, so that small images can be seen."""


def grid(
    images: Tensor, columns: int, captions: Sequence[str] = (), scale: int = 1, *, rows: Sequence[str] = ()
) -> Image.Image:
    """Lay images out row by row, without gaps, on white.

    Args:
        images: uint8 (N, C, H, W), C 1 or 3.
        columns: how many stand beside each other.
        captions: names of the columns, above them; turned upright where one is too long to stand across.
        scale: side in pixels of the square that each pixel becomes.
        rows: names of the rows, left of them.

    Returns:
        Mode `L` or `RGB`. Pixel (y, x) of image i covers the square at left + scale · (W · (i mod columns) + x),
        top + scale · (H · ⌊i / columns⌋ + y), where left and top are the room that names take, 0 without any.

    Raises:
        GenbenchError: it is larger than `LARGEST`.
    """
    tiles = tiled(images, columns, 255)
    if tiles.width * tiles.height * scale**2 > LARGEST:
        raise GenbenchError(
            f"a picture of {tiles.width * scale:,}×{tiles.height * scale:,} pixels is too large",
            "draw fewer images, or enlarge them less",
        )
    enlarged = tiles.resize((tiles.width * scale, tiles.height * scale), Image.Resampling.NEAREST)
    if not captions and not rows:
        return enlarged
    across, down = images.shape[3] * scale, images.shape[2] * scale
    above, beside = _captions(captions, across), _row_names(rows)
    left = max((name.width for name in beside), default=0)
    top = max((name.height for name in above), default=0)
    picture = Image.new(tiles.mode, (left + enlarged.width, top + enlarged.height), "white")
    picture.paste(enlarged, (left, top))
    for column, name in enumerate(above):
        picture.paste(name, (left + column * across + (across - name.width) // 2, top - name.height))
    for row, name in enumerate(beside):
        picture.paste(name, (left - name.width, top + row * down + (down - name.height) // 2))
    return picture


def over(images: Tensor, below: Tensor, columns: int, scale: int = 1) -> Image.Image:
    """Lay images out in rows, uint8 (N, C, H, W), each row over that of what belongs to them, likewise."""
    blank = images.new_full((-len(images) % columns, *images.shape[1:]), 255)
    pairs = torch.stack([torch.cat([part, blank]) for part in (images, below)])
    rows = pairs.reshape(2, -1, columns, *images.shape[1:]).transpose(0, 1)
    return grid(rows.flatten(0, 2), columns, scale=scale)


def titled(picture: Image.Image, text: str) -> Image.Image:
    """Put a line of text above a picture, from its left end; what is too long for its width is cut off."""
    line = _written((_shown(text),))
    whole = Image.new(picture.mode, (picture.width, line.height + picture.height), "white")
    whole.paste(line, (0, 0))
    whole.paste(picture, (0, line.height))
    return whole


def enlargement(size: int, columns: int, width: int = WIDTH) -> int:
    """Return the least scale at which a grid of images of so many pixels is so wide."""
    return max(1, -(-width // (size * columns)))


def webp(picture: Image.Image, side: int = LOSSLESS) -> bytes:
    """Return a picture as WebP, without loss where its images are small.

    Args:
        side: of one of its images, in pixels as they are shown.

    Raises:
        GenbenchError: it is too large for WebP.
    """
    if max(picture.size) > WEBP_LIMIT:
        raise GenbenchError(
            f"a picture of {picture.width}×{picture.height} pixels: WebP has no more than {WEBP_LIMIT} on a side",
            "show fewer images in it",
        )
    content = io.BytesIO()
    picture.save(content, "WEBP", lossless=side <= LOSSLESS, quality=QUALITY, method=6)
    return content.getvalue()


def _captions(texts: Sequence[str], width: int) -> list[Image.Image]:
    """Return what stands above columns of a width: broken into lines, or all of it upright where that is not enough."""
    across = [_written(_broken(_shown(text), width - MARGIN)) for text in texts]
    if all(name.width <= width for name in across):
        return across
    return [_written((_shown(text),)).rotate(90, expand=True) for text in texts]


def _row_names(texts: Sequence[str]) -> list[Image.Image]:
    return [_written((_shown(text),)) for text in texts]


def _shown(text: str) -> str:
    """Return a name, a stranger's perhaps, as it may be drawn."""
    short = clean(text)
    return short if len(short) <= LONGEST else f"{short[: LONGEST - 1]}…"


def _broken(text: str, width: int) -> tuple[str, ...]:
    """Return the lines of a text, broken behind spaces and underscores, each as long as fits into so many pixels."""
    lines = [""]
    for word in re.split(r"(?<=[_ ])", text):
        if _font().getlength(lines[-1] + word.rstrip()) <= width or not lines[-1]:
            lines[-1] += word
        else:
            lines.append(word)
    return tuple(line.rstrip() for line in lines)


def _written(lines: tuple[str, ...]) -> Image.Image:
    """Return lines of text, black on white, centred, with a margin around them."""
    font = _font()
    ascent, descent = font.getmetrics()
    width = round(max((font.getlength(line) for line in lines), default=0)) + MARGIN
    name = Image.new("L", (width, len(lines) * (ascent + descent) + MARGIN), "white")
    drawing = ImageDraw.Draw(name)
    for number, line in enumerate(lines):
        left = (width - font.getlength(line)) / 2
        drawing.text((left, MARGIN // 2 + number * (ascent + descent)), line, fill="black", font=font)
    return name


@cache
def _font() -> ImageFont.FreeTypeFont:
    import matplotlib

    file = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
    return ImageFont.truetype(str(file), TEXT, layout_engine=ImageFont.Layout.BASIC)
