"""Settings of the models of this package. Imports no torch."""

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge, Gt, Lt

from genbench.adversarial.settings import AdversarialSettings


@dataclass(frozen=True)
class VaeGanSettings(AdversarialSettings):
    """Settings of the VAE/GAN."""

    gamma: Annotated[float, "weight of the similarity against the GAN's cost for the decoder", Ge(0)] = 1e-2
    kl_weight: Annotated[float, "weight of the KL divergence for the encoder", Ge(0)] = 0.3
    show_reconstructions: Annotated[bool, "show reconstructions to the discriminator beside prior samples"] = True


@dataclass(frozen=True)
class VaeGanPixelSettings(VaeGanSettings):
    """Settings of the VAE/GAN with a pixel similarity, whose posterior holds enough at the full weight of the KL."""

    kl_weight: Annotated[float, "weight of the KL divergence for the encoder", Ge(0)] = 1.0


@dataclass(frozen=True)
class VaeDisLSettings(AdversarialSettings):
    """Settings of the VAE on the features of a discriminator trained beforehand."""

    kl_weight: Annotated[float, "weight of the KL divergence for encoder and decoder", Ge(0)] = 0.1
    margin: Annotated[float, "as in every adversarial model, but narrower, as in a GAN; 0 opens the gate", Ge(0)] = 0.2
    discriminator_share: Annotated[
        float, "part of the budget that trains the discriminator, in a GAN", Gt(0), Lt(1)
    ] = 0.5
