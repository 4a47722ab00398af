"""Pictures of any size and mode, as the square images in RGB that a data set has."""

import numpy as np
from PIL import Image, ImageOps


def middle_square(picture: Image.Image, size: int) -> Image.Image:
    """Return the middle square of a picture as it is seen, in RGB, resized by Pillow's antialiased bicubic filter.

    Raises:
        ValueError: the range of its pixels is not known.
    """
    ImageOps.exif_transpose(picture, in_place=True)
    upright = as_rgb(picture)
    side = min(upright.size)
    left, top = (upright.width - side) // 2, (upright.height - side) // 2
    square = upright.crop((left, top, left + side, top + side))
    return square.resize((size, size), Image.Resampling.BICUBIC)


def as_rgb(picture: Image.Image) -> Image.Image:
    """Return a picture in RGB: transparency is put on white, 16-bit grey keeps its upper 8 bits.

    Raises:
        ValueError: the range of its pixels is not known.
    """
    if picture.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(picture) >> 8).astype(np.uint8)).convert("RGB")
    if picture.mode in ("I", "F"):
        raise ValueError(f"pixels of mode {picture.mode}, whose range is not known")
    if picture.has_transparency_data:
        opaque = picture.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", opaque.size, "white"), opaque).convert("RGB")
    return picture if picture.mode == "RGB" else picture.convert("RGB")
