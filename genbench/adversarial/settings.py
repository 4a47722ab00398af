"""Settings of the adversarial part of a model. Imports no torch."""

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge, Le


@dataclass(frozen=True)
class AdversarialSettings:
    """How discriminator and decoder play against each other."""

    saturating: Annotated[
        bool, "decoder minimises log(1 - Dis(fake)), as in the minimax game, instead of -log Dis(fake)"
    ] = False
    real_label: Annotated[
        float, "target of real images for the discriminator (one-sided smoothing under 1)", Ge(0), Le(1)
    ] = 0.9
    fake_label: Annotated[float, "target of generated images for the discriminator", Ge(0), Le(1)] = 0.0
    equilibrium: Annotated[float, "cost per image, in nats, around which the gate keeps the discriminator", Ge(0)] = (
        0.68
    )
    margin: Annotated[
        float,
        "a network far ahead waits: discriminator below equilibrium - margin, decoder above + margin; 0 opens the gate",
        Ge(0),
    ] = 0.35
