"""Settings of the VAE. Imports no torch."""

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge


@dataclass(frozen=True)
class VaeSettings:
    """Settings of the VAE."""

    kl_weight: Annotated[float, "weight of the KL divergence (β of Higgins et al. 2017)", Ge(0)] = 1.0
