"""A GAN's losses, for the model `gan` and for every model that trains one on its way."""

import torch
from torch import Tensor, nn

from genbench.adversarial.costs import costs, gates
from genbench.adversarial.settings import AdversarialSettings
from genbench.train.gradients import Losses


def gan_losses(
    networks: nn.ModuleDict, generator: str, images: Tensor, latent_size: int, settings: AdversarialSettings
) -> Losses:
    """Return the losses and gates of the network named `generator` and of the one named `discriminator`.

    Args:
        images: real ones, (N, C, H, W); as many are generated, from N(0, I).
    """
    latents = torch.randn(len(images), latent_size, device=images.device)
    on_real = networks["discriminator"](images)
    on_prior = networks["discriminator"](networks[generator](latents))
    played = costs(on_real.logits, {"prior": on_prior.logits}, settings)
    generator_moves, discriminator_moves = gates(played, settings)
    return Losses(
        of={generator: played.generator, "discriminator": played.discriminator},
        log={"gan.real": played.real, "gan.fake": played.fake},
        gates={generator: generator_moves, "discriminator": discriminator_moves},
    )
