"""The generative adversarial network (Goodfellow et al. 2014), on the networks that VAE/GAN shares."""

import torch
from torch import nn

from genbench.adversarial.costs import costs, gates
from genbench.interfaces import Batch, Losses, Model
from genbench.networks import Blueprint
from genbench_gan.settings import GanSettings


class Gan(Model):
    """The discriminator tells real images from decoded prior samples; the decoder makes it err (equation 1)."""

    def __init__(self, blueprint: Blueprint, settings: GanSettings) -> None:
        super().__init__(blueprint)
        self.settings = settings
        self.networks = nn.ModuleDict({"decoder": blueprint.decoder(), "discriminator": blueprint.discriminator()})

    def losses(self, batch: Batch) -> Losses:
        latents = torch.randn(len(batch.images), self.blueprint.network.latent_size, device=batch.images.device)
        discriminator = self.networks["discriminator"]
        on_real = discriminator(batch.images)
        on_prior = discriminator(self.decode(latents))
        played = costs(on_real.logits, {"prior": on_prior.logits}, self.settings)
        decoder_moves, discriminator_moves = gates(played, self.settings)
        return Losses(
            of={"decoder": played.generator, "discriminator": played.discriminator},
            log={"gan.real": played.real, "gan.fake": played.fake},
            gates={"decoder": decoder_moves, "discriminator": discriminator_moves},
        )
