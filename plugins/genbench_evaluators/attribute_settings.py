"""Settings of `attributes`; imports no torch."""

from dataclasses import dataclass
from math import isfinite
from typing import Annotated

from pydantic import AfterValidator, Field

STRONGEST = 100.0


def parse_strengths(text: str) -> tuple[float, ...]:
    """Return the numbers of a text such as `0.5,1,2`, none for an empty one.

    Raises:
        ValueError: something in it is not a number over 0 and up to 100, or is there twice.
    """
    strengths: list[float] = []
    for part in text.split(",") if text.strip() else []:
        try:
            strength = float(part)
        except ValueError:
            raise ValueError(
                f"{part.strip()!r} is not a number; expected numbers with commas, such as 0.5,1,2"
            ) from None
        if not (isfinite(strength) and 0 < strength <= STRONGEST):
            raise ValueError(f"{part.strip()} is not over 0 and up to {STRONGEST:g}")
        if strength in strengths:
            raise ValueError(f"{part.strip()} is there twice")
        strengths.append(strength)
    return tuple(strengths)


def _canonical(text: str) -> str:
    return ",".join(f"{strength:g}" for strength in parse_strengths(text))


@dataclass(frozen=True)
class AttributeSettings:
    """Settings of `attributes`."""

    strength: Annotated[float, Field(gt=0, le=STRONGEST), "how far to move along an attribute's vector"] = 1.0
    images: Annotated[int, Field(ge=0), "how many images to edit, the first of the test split; 0: all"] = 512
    strengths: Annotated[
        str, AfterValidator(_canonical), "strengths to show in a table, such as 0.5,1,2; empty for none"
    ] = "0.5,1,1.5,2"
