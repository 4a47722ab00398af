"""Settings of `sobel`. Imports no torch."""

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Gt


@dataclass(frozen=True)
class SobelSettings:
    """How much edges count, and how much pixels."""

    # Not 0: where all that differs is one brightness, only the pixels tell.
    pixels: Annotated[float, "weight of the pixels' own differences", Gt(0)] = 0.1
