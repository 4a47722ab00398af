"""Settings of the data sets of this package. Imports no torch."""

from dataclasses import dataclass, field
from typing import Annotated

from annotated_types import Ge, Le

from genbench.specs import ADDED_LATER


@dataclass(frozen=True)
class ToyFacesSettings:
    """Which faces to draw."""

    count: Annotated[int, "number of images, of which 80 % train, 10 % validate and 10 % test", Ge(10)] = 20_000
    seed: Annotated[int, "of the faces; the first faces are the same whatever the count", Ge(0)] = 0


@dataclass(frozen=True)
class FolderSettings:
    """What lies in the folder beside the images."""

    attributes: Annotated[
        str,
        "CSV file below the folder: an image's path, then 0/1 or -1/1 for each attribute; empty for none",
    ] = ""


@dataclass(frozen=True)
class CelebaSettings:
    """How faces are cropped, and blurred before they are resized; both in pixels of the official 178×218 images."""

    blur: Annotated[
        float, "σ of a Gaussian blur before resizing; 0.76 in the code of Larsen et al. 2016, for 64 px", Ge(0), Le(16)
    ] = field(default=0.0, metadata=ADDED_LATER)
    centre_crop: Annotated[
        int, "side of a central square; 0 for the one of 148 in the code of Larsen et al. 2016", Ge(0), Le(178)
    ] = field(default=0, metadata=ADDED_LATER)


@dataclass(frozen=True)
class Stl10Settings:
    """Which images, and how they are blurred before they are resized."""

    labelled: Annotated[bool, "only the 13,000 images that have a label, with their classes as attributes"] = False
    blur: Annotated[float, "σ of a Gaussian blur before resizing, in pixels of the 96×96 images", Ge(0), Le(16)] = 0.0


@dataclass(frozen=True)
class LfwSettings:
    """How faces are blurred before they are resized."""

    blur: Annotated[float, "σ of a Gaussian blur before resizing, in pixels of the 250×250 images", Ge(0), Le(16)] = 0.0
