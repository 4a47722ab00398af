"""Settings of the GAN. Imports no torch."""

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge

from genbench.adversarial.settings import AdversarialSettings


@dataclass(frozen=True)
class GanSettings(AdversarialSettings):
    """Settings of the GAN: a narrower gate than VAE/GAN's, since no similarity holds the decoder on course."""

    margin: Annotated[float, "as in every adversarial model, but narrower; 0 opens the gate", Ge(0)] = 0.2
