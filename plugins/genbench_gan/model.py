"""The generative adversarial network (Goodfellow et al. 2014), on the networks that VAE/GAN shares."""

from torch import nn

from genbench.adversarial.gan import Game
from genbench.interfaces import Batch, Gradients, Losses, Model
from genbench.networks import Blueprint
from genbench_gan.settings import GanSettings


class Gan(Model):
    """The discriminator tells real images from decoded prior samples; the decoder makes it err (equation 1)."""

    def __init__(self, blueprint: Blueprint, settings: GanSettings) -> None:
        super().__init__(blueprint)
        self.networks = nn.ModuleDict({"decoder": blueprint.decoder(), "discriminator": blueprint.discriminator()})
        self.game = Game(self.networks, "decoder", blueprint.network.latent_size, settings)

    def losses(self, batch: Batch) -> Losses:
        return self.game.losses(batch)

    def gradients(self, batch: Batch) -> Gradients:
        return self.game.gradients(batch)

    def phase(self, images_seen: int) -> str:
        return "whole"
