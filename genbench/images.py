"""Between uint8 at rest, floats in [-1, 1] inside, and pictures to look at."""

import io

import torch
from PIL import Image
from torch import Tensor


def to_float(images: Tensor) -> Tensor:
    """Turn uint8 images into floats in [-1, 1]."""
    return images.float() / 127.5 - 1


def to_uint8(images: Tensor) -> Tensor:
    """Quantise floats in [-1, 1] to uint8, rounding to nearest; the inverse of `to_float`."""
    return ((images + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)


def squared_errors(real: Tensor, fake: Tensor) -> Tensor:
    """Return the mean squared error of each reconstruction in [0, 1], (N,), of images (N, C, H, W) in [-1, 1]."""
    # Half a difference in [-1, 1] is a difference in [0, 1].
    return ((real - fake) / 2).square().flatten(1).mean(1)


def tiled(images: Tensor, columns: int, blank: int) -> Image.Image:
    """Lay uint8 images (N, C, H, W) out in rows, without gaps; the last row is filled with one value."""
    count, channels, height, width = images.shape
    rows = -(-count // columns)
    canvas = torch.full((rows * columns, channels, height, width), blank, dtype=torch.uint8)
    canvas[:count] = images.cpu()
    tiles = canvas.reshape(rows, columns, channels, height, width).permute(0, 3, 1, 4, 2)
    return Image.fromarray(tiles.reshape(rows * height, columns * width, channels).squeeze(2).numpy())


def png(picture: Image.Image) -> bytes:
    """Return a picture as PNG; the same picture gives the same bytes."""
    content = io.BytesIO()
    picture.save(content, "PNG", optimize=True)
    return content.getvalue()


def grid_png(images: Tensor, columns: int) -> bytes:
    """Lay uint8 images (N, C, H, W) out in rows and return them as a PNG; the last row is filled with black."""
    return png(tiled(images, columns, 0))
