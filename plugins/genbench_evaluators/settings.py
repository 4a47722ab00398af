"""Settings of the evaluators; imports no torch."""

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field


@dataclass(frozen=True)
class FidSettings:
    """Settings of `fid`."""

    weights: Annotated[
        str, "path of Inception's weights as torch-fidelity publishes them; empty: look for them, else download them"
    ] = ""
    reference: Annotated[Literal["test", "train"], "split that the samples are held against"] = "test"


@dataclass(frozen=True)
class AttributeSettings:
    """Settings of `attributes`."""

    strength: Annotated[float, Field(gt=0, le=100), "how far to move along an attribute's vector"] = 1.0
    images: Annotated[int, Field(ge=0), "how many images to edit, the first of the test split; 0: all"] = 512
