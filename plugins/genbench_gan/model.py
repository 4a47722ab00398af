"""The generative adversarial network (Goodfellow et al. 2014), on the networks that VAE/GAN shares."""

from torch import nn

from genbench.adversarial.gan import gan_losses
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
        size = self.blueprint.network.latent_size
        return gan_losses(self.networks, "decoder", batch.images, size, self.settings)
