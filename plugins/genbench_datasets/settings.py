"""Settings of the data sets of this package. Imports no torch."""

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge


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
