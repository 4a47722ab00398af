"""VAE/GAN: a VAE whose reconstruction error is measured by a learned similarity (Larsen et al. 2016)."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from genbench.adversarial.costs import costs, gates
from genbench.interfaces import Batch, Losses, Model, Similarity, View
from genbench.networks import Blueprint, Discrimination
from genbench_vaegan.settings import VaeGanSettings


class VaeGan(Model):
    """Algorithm 1 of Larsen et al. 2016, with the signs as they must be.

    The encoder minimises KL + L_like, the decoder γ·L_like - L_GAN, the discriminator L_GAN on real, reconstructed and
    prior images, where L_like is the run's similarity: of discriminator features (`dis-l`), of pixels, or any other.
    """

    similarity: Similarity

    def __init__(self, blueprint: Blueprint, settings: VaeGanSettings) -> None:
        super().__init__(blueprint)
        self.settings = settings
        self.networks = nn.ModuleDict(
            {"encoder": blueprint.encoder(), "decoder": blueprint.decoder(), "discriminator": blueprint.discriminator()}
        )

    def losses(self, batch: Batch) -> Losses:
        encoder, decoder, discriminator = self.networks.values()
        posterior = encoder(batch.images)
        # Each kind of image has a pass of its own through decoder and discriminator: batch-norm that mixes
        # reconstructions and prior samples learns statistics that fit neither in evaluation mode.
        reconstruction = decoder(posterior.sample())
        prior = decoder(torch.randn_like(posterior.mean))
        on_real, on_reconstruction, on_prior = map(discriminator, (batch.images, reconstruction, prior))
        like = self.similarity(
            View(batch.images, on_real.features), View(reconstruction, on_reconstruction.features)
        ).mean()
        kl = posterior.kl().mean()
        fakes = {"prior": on_prior.logits}
        if self.settings.show_reconstructions:
            fakes["reconstruction"] = on_reconstruction.logits
        played = costs(on_real.logits, fakes, self.settings)
        decoder_moves, discriminator_moves = gates(played, self.settings)
        return Losses(
            of={
                "encoder": self.settings.kl_weight * kl + like,
                "decoder": self.settings.gamma * like + played.generator,
                "discriminator": played.discriminator,
            },
            log={"kl": kl, "like": like, "gan.real": played.real, "gan.fake": played.fake},
            gates={"decoder": decoder_moves, "discriminator": discriminator_moves},
        )

    def features(self, images: Tensor) -> Mapping[str, Tensor]:
        judged: Discrimination = self.networks["discriminator"](images)
        return judged.features
