"""VAE_Dis_l: a VAE measured in the features of a discriminator trained beforehand (Larsen et al. 2016, section 4)."""

from collections.abc import Mapping

from torch import Tensor, nn

from genbench.adversarial.gan import Game
from genbench.interfaces import Batch, Gradients, Losses, Model, Similarity, View
from genbench.networks import Blueprint, Discrimination
from genbench_vaegan.settings import VaeDisLSettings


class VaeDisL(Model):
    """First a GAN trains the discriminator; then the discriminator stands still, and encoder and decoder train.

    The GAN's generator is a network apart, idle after the first part, so that the VAE's decoder starts afresh. Both
    parts together see the run's budget.
    """

    similarity: Similarity

    def __init__(self, blueprint: Blueprint, settings: VaeDisLSettings) -> None:
        super().__init__(blueprint)
        self.settings = settings
        self.latent_size = blueprint.network.latent_size
        self.similarity_from = round(settings.discriminator_share * blueprint.images)
        self.networks = nn.ModuleDict(
            {
                "encoder": blueprint.encoder(),
                "decoder": blueprint.decoder(),
                "discriminator": blueprint.discriminator(),
                "generator": blueprint.decoder(),
            }
        )

        self.game = Game(self.networks, "generator", self.latent_size, settings)

    def losses(self, batch: Batch) -> Losses:
        return self.game.losses(batch) if self.phase(batch.images_seen) == "gan" else self._vae(batch)

    def gradients(self, batch: Batch) -> Gradients:
        return self.game.gradients(batch) if self.phase(batch.images_seen) == "gan" else super().gradients(batch)

    def phase(self, images_seen: int) -> str:
        return "gan" if images_seen < self.similarity_from else "vae"

    def _vae(self, batch: Batch) -> Losses:
        posterior = self.encode(batch)
        reconstruction = self.decode(posterior.sample(batch.noise(self.latent_size)))
        like = self.similarity(
            View(batch.images, self.features(batch.images)), View(reconstruction, self.features(reconstruction))
        ).mean()
        kl = posterior.kl().mean()
        # KL has no gradient in the decoder, so one loss serves both, in one backward pass.
        total = self.settings.kl_weight * kl + like
        return Losses(of={"encoder": total, "decoder": total}, log={"kl": kl, "like": like})

    def features(self, images: Tensor) -> Mapping[str, Tensor]:
        # The finished discriminator is in evaluation mode: a fixed measure must not depend on the batch's others.
        discriminator = self.networks["discriminator"].eval()
        judged: Discrimination = discriminator(images)
        discriminator.train(self.training)
        return judged.features
