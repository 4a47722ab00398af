"""Settings of `counterfactual`; imports no torch."""

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field


@dataclass(frozen=True)
class CounterfactualSettings:
    """Settings of `counterfactual`."""

    strength: Annotated[float, Field(gt=0, le=100), "how far to move along an attribute's vector"] = 1.0
    images: Annotated[int, Field(ge=0), "how many images to edit, the first of the test split; 0: all"] = 512
