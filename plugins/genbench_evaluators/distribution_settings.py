"""Settings of the evaluators that hold generated images against real ones; imports no torch."""

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

Extractor = Annotated[str, "network whose features are compared, see `genbench list extractors`"]
Weights = Annotated[str, "path of the network's weights; empty: look for them, else download them"]
Reference = Annotated[
    Literal["test", "train"], "split that samples are held against, and of which images are reconstructed"
]
Images = Annotated[int, Field(ge=2, le=100_000), "how many images of each side are compared at most, the first ones"]
Neighbours = Annotated[int, Field(ge=1, le=1000), "k: an image's neighbourhood reaches to its k-th nearest neighbour"]


@dataclass(frozen=True)
class FidSettings:
    """Settings of `fid`."""

    weights: Annotated[
        str, "path of Inception's weights as torch-fidelity publishes them; empty: look for them, else download them"
    ] = ""
    reference: Reference = "test"


@dataclass(frozen=True)
class FrechetSettings:
    """Settings of `fd`."""

    extractor: Extractor = "attributes"
    weights: Weights = ""
    reference: Reference = "test"


@dataclass(frozen=True)
class KernelSettings:
    """Settings of `kid`."""

    extractor: Extractor = "inception"
    weights: Weights = ""
    reference: Reference = "test"
    images: Images = 10_000
    subsets: Annotated[int, Field(ge=1, le=10_000), "how many subsets the distance is averaged over"] = 100
    subset_size: Annotated[int, Field(ge=2, le=10_000), "images of each side in a subset"] = 1000


@dataclass(frozen=True)
class PrecisionRecallSettings:
    """Settings of `precision-recall`."""

    extractor: Extractor = "vgg16"
    weights: Weights = ""
    reference: Reference = "test"
    images: Images = 10_000
    neighbours: Neighbours = 3


@dataclass(frozen=True)
class DensityCoverageSettings:
    """Settings of `density-coverage`."""

    extractor: Extractor = "vgg16"
    weights: Weights = ""
    reference: Reference = "test"
    images: Images = 10_000
    neighbours: Neighbours = 5


@dataclass(frozen=True)
class InceptionScoreSettings:
    """Settings of `inception-score`."""

    weights: Annotated[
        str, "path of Inception's weights as torch-fidelity publishes them; empty: look for them, else download them"
    ] = ""
    splits: Annotated[int, Field(ge=2, le=1000), "parts that are scored one by one and averaged"] = 10
