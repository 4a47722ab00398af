"""Ways in which an image can be worse, each in steps: what similarities are tested and described with.

Images are (N, C, H, W) in [-1, 1], of any floating dtype, and stay so. What leaves an image at one border comes from
its mirror image at the other side, so that no distortion brings in a black edge.
"""

import io
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from genbench.errors import NotApplicable
from genbench.images import to_float, to_uint8

Bytes = NDArray[np.uint8]

GREY_WEIGHTS = (0.299, 0.587, 0.114)
"""Of red, green and blue in an image's luma (ITU-R BT.601)."""


@dataclass(frozen=True)
class Distortion:
    """One way to make images worse.

    Attributes:
        unit: of a strength.
        strengths: from weak to strong.
        apply: (images, strength) to images; a strength of `identity` changes nothing.
        identity: the strength of the image itself.
    """

    name: str
    unit: str
    strengths: tuple[float, ...]
    apply: Callable[[Tensor, float], Tensor]
    identity: float = 0.0

    def series(self, images: Tensor) -> list[Tensor]:
        """Return the images at each strength, from weak to strong.

        Raises:
            NotApplicable: these images can't be distorted so, as grey ones in their colour.
        """
        return [self.apply(images, strength) for strength in self.strengths]


def blur(images: Tensor, sigma: float) -> Tensor:
    """Blur with a Gaussian of a standard deviation of `sigma` pixels."""
    if sigma == 0:
        return images
    reach = min(max(math.ceil(3 * sigma), 1), min(images.shape[2:]) - 1)
    place = torch.arange(-reach, reach + 1, dtype=images.dtype, device=images.device)
    line = (-(place**2) / (2 * sigma**2)).exp()
    kernel = (line / line.sum()).expand(images.shape[1], 1, 1, -1)
    padded = F.pad(images, (reach, reach, reach, reach), mode="reflect")
    rows = F.conv2d(padded, kernel, groups=images.shape[1])
    return F.conv2d(rows, kernel.transpose(2, 3), groups=images.shape[1])


def noise(images: Tensor, deviation: float) -> Tensor:
    """Add Gaussian noise whose standard deviation is `deviation` of the whole range, and cut off what leaves it.

    The noise of all images and of all strengths is one pattern, whose mean is 0 and whose standard deviation is what it
    is said to be, and not only about so.
    """
    generator = torch.Generator().manual_seed(0)
    drawn = torch.randn(images.shape[1:], generator=generator, dtype=torch.float64)
    drawn = (drawn - drawn.mean()) / drawn.std(correction=0)
    return (images + 2 * deviation * drawn.to(images)).clamp(-1, 1)


def shift(images: Tensor, pixels: float) -> Tensor:
    """Move to the right by `pixels`, which need not be whole (then linearly interpolated).

    Raises:
        NotApplicable: the images are no wider than that.
    """
    whole = math.floor(pixels)
    if max(-whole, math.ceil(pixels)) >= images.shape[3]:
        raise NotApplicable(f"images of {images.shape[3]} px can't be moved by {pixels:g} px")
    moved = _moved(images, whole)
    return moved if pixels == whole else torch.lerp(moved, _moved(images, whole + 1), pixels - whole)


def rotation(images: Tensor, degrees: float) -> Tensor:
    """Turn about the centre by `degrees`, bilinearly."""
    if degrees == 0:
        return images
    angle = math.radians(degrees)
    height, width = images.shape[2:]
    cos, sin = math.cos(angle), math.sin(angle)
    turn = images.new_tensor([[cos, -sin * height / width, 0.0], [sin * width / height, cos, 0.0]])
    grid = F.affine_grid(turn.expand(len(images), 2, 3), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="reflection", align_corners=False)


def contrast(images: Tensor, lost: float) -> Tensor:
    """Draw the values towards each image's mean luma, by the share `lost` of their distance to it."""
    mean = _luma(images).mean((1, 2, 3), keepdim=True)
    return torch.lerp(images, mean.expand_as(images), lost)


def jpeg(images: Tensor, quality: float) -> Tensor:
    """Write as JPEG of a `quality` of 1 to 100, and read; 100 is near the identity, and not quite it.

    By Pillow, colours at half the resolution, as it has them by default. Gradients end here.
    """
    pixels = to_uint8(images.detach()).cpu().permute(0, 2, 3, 1).numpy()
    squeezed = np.stack([_squeezed(image, round(quality)) for image in pixels])
    return to_float(torch.from_numpy(squeezed).permute(0, 3, 1, 2)).to(images)


def colour(images: Tensor, turned: float) -> Tensor:
    """Turn the hue of colour images by the share `turned` of the whole circle.

    Their luma stays as it is, but where a colour leaves the range and is cut off.

    Raises:
        NotApplicable: the images are grey.
    """
    if images.shape[1] != 3:
        raise NotApplicable("grey images have no colour to turn")
    luma = _luma(images)
    angle = 2 * math.pi * turned
    first, second = images[:, 2:] - luma, images[:, :1] - luma  # blue and red differences span the colours
    blue = first * math.cos(angle) - second * math.sin(angle)
    red = first * math.sin(angle) + second * math.cos(angle)
    weight_red, weight_green, weight_blue = GREY_WEIGHTS
    green = -(weight_red * red + weight_blue * blue) / weight_green
    return (luma + torch.cat([red, green, blue], dim=1)).clamp(-1, 1)


DISTORTIONS: tuple[Distortion, ...] = (
    Distortion("blur", "px", (0.5, 0.75, 1, 2, 4), blur),
    Distortion("noise", "of the range", (0.01, 0.02, 0.05, 0.1, 0.2), noise),
    Distortion("shift", "px", (0.25, 0.5, 1, 2, 4), shift),
    Distortion("rotation", "degrees", (1, 2, 5, 10, 20), rotation),
    Distortion("contrast", "lost", (0.05, 0.1, 0.2, 0.4, 0.8), contrast),
    Distortion("jpeg", "quality", (90, 70, 50, 30, 10), jpeg, identity=100),
    Distortion("colour", "of the circle", (0.01, 0.02, 0.05, 0.1, 0.2), colour),
)

BY_NAME: Mapping[str, Distortion] = {distortion.name: distortion for distortion in DISTORTIONS}


def _moved(images: Tensor, pixels: int) -> Tensor:
    """Move to the right by whole pixels."""
    if pixels == 0:
        return images
    side = images.shape[3]
    left, right = max(pixels, 0), max(-pixels, 0)
    padded = F.pad(images, (left, right, 0, 0), mode="reflect")
    return padded[..., right : right + side]


def _squeezed(image: Bytes, quality: int) -> Bytes:
    """Return an image (H, W, C), C being 1 or 3, as JPEG brings it back."""
    with io.BytesIO() as file:
        Image.fromarray(image.squeeze(2) if image.shape[2] == 1 else image).save(file, "JPEG", quality=quality)
        with Image.open(file) as read:
            return np.array(read).reshape(image.shape)


def _luma(images: Tensor) -> Tensor:
    if images.shape[1] == 1:
        return images
    weights = images.new_tensor(GREY_WEIGHTS)[:, None, None]
    return (images * weights).sum(1, keepdim=True)
