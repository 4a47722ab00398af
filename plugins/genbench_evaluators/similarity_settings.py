"""Settings of the evaluator `similarity`. Imports no torch."""

from dataclasses import dataclass
from typing import Annotated


@dataclass(frozen=True)
class SimilarityScoreSettings:
    """Which similarity judges."""

    similarity: Annotated[str, "any of `genbench list similarities`, with its own settings' defaults"] = "mse"
