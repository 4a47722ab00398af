"""Settings of the models of this package. Imports no torch."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Lt

from genbench.adversarial.settings import AdversarialSettings
from genbench.specs import ADDED_LATER


@dataclass(frozen=True)
class VaeGanSettings(AdversarialSettings):
    """Settings of the VAE/GAN."""

    gamma: Annotated[float, "weight of the similarity against the GAN's cost for the decoder", Ge(0)] = 1e-2
    kl_weight: Annotated[float, "weight of the KL divergence for the encoder", Ge(0)] = 0.3
    show_reconstructions: Annotated[bool, "show reconstructions to the discriminator beside prior samples"] = True
    fake_cost: Annotated[
        Literal["mean", "sum"],
        "of both sides' costs on prior samples and reconstructions; Algorithm 1 of Larsen et al. 2016 has their sum; "
        "the gate looks at the mean",
    ] = field(default="mean", metadata=ADDED_LATER)
    one_batch: Annotated[
        bool,
        "real and generated images pass the discriminator together, so that its batch-norm sees both: reconstructions "
        "with the real ones for the similarity, generated images with the real ones for the GAN",
    ] = field(default=False, metadata=ADDED_LATER)

    def __post_init__(self) -> None:
        if self.fake_cost == "sum" and not self.show_reconstructions:
            raise ValueError(
                "`fake_cost` is sum, but `show_reconstructions` is off and the discriminator is shown prior samples "
                "alone: nothing to add"
            )


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
