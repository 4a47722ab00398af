"""VAE/GAN: a VAE whose reconstruction error is measured by a learned similarity (Larsen et al. 2016)."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from genbench.adversarial.costs import Costs, costs, gates
from genbench.adversarial.gan import cut, play
from genbench.interfaces import Batch, Gradients, Losses, Model, Posterior, Similarity, View
from genbench.networks import Blueprint, Discrimination
from genbench.train.gradients import detached, differentiate, gradient_in, trainable
from genbench_vaegan.settings import VaeGanSettings


@dataclass(frozen=True)
class _Made:
    """What encoder and decoder make of a batch."""

    posterior: Posterior
    reconstruction: Tensor
    prior: Tensor


@dataclass(frozen=True)
class _Judged:
    """What similarity and discriminator say of it: all of the losses' terms."""

    like: Tensor
    kl: Tensor
    played: Costs
    losses: Losses


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
        made = self._make(batch)
        return self._judge(batch, made, made.reconstruction, made.prior).losses

    def terms(self, batch: Batch) -> Mapping[str, Tensor]:
        made = self._make(batch)
        judged = self._judge(batch, made, made.reconstruction, made.prior)
        return {"similarity": self.settings.gamma * judged.like, "gan": judged.played.generator}

    def gradients(self, batch: Batch) -> Gradients:
        """Return what routing `losses` would give, with the graph cut at the images that the decoder makes.

        So L_like is differentiated in the reconstruction once, for encoder and decoder, and in the minimax game one
        pass through the discriminator serves its parameters and its inputs.
        """
        encoder, decoder, discriminator = self.networks.values()
        made = self._make(batch)
        reconstruction, prior = cut(made.reconstruction), cut(made.prior)
        judged = self._judge(batch, made, reconstruction, prior)
        towards_like = gradient_in(judged.like, reconstruction)
        shown = [prior, reconstruction] if self.settings.show_reconstructions else [prior]
        own, (towards_prior, *rest) = play(discriminator, judged.played, shown, self.settings)
        towards_reconstruction = sum(rest, self.settings.gamma * towards_like)
        decoders = differentiate(
            [made.reconstruction, made.prior],
            trainable(decoder),
            [towards_reconstruction, towards_prior],
            retain_graph=True,
        )
        encoders = differentiate(
            [judged.kl, made.reconstruction],
            trainable(encoder),
            [torch.full_like(judged.kl, self.settings.kl_weight), towards_like],
        )
        of = {"encoder": encoders, "decoder": decoders, "discriminator": own}
        return Gradients(of, detached(judged.losses.log), judged.losses.gates)

    def phase(self, images_seen: int) -> str:
        return "whole"

    def features(self, images: Tensor) -> Mapping[str, Tensor]:
        judged: Discrimination = self.networks["discriminator"](images)
        return judged.features

    def _make(self, batch: Batch) -> _Made:
        encoder, decoder, _ = self.networks.values()
        size = self.blueprint.network.latent_size
        posterior = encoder(batch.images)
        # Each kind of image has a pass of its own through decoder and discriminator: batch-norm that mixes
        # reconstructions and prior samples learns statistics that fit neither in evaluation mode.
        reconstruction = decoder(posterior.sample(batch.noise(size)))
        return _Made(posterior, reconstruction, decoder(batch.noise(size)))

    def _judge(self, batch: Batch, made: _Made, reconstruction: Tensor, prior: Tensor) -> _Judged:
        """Compute every loss of images that are, or are cut off from, what was made."""
        discriminator = self.networks["discriminator"]
        on_real, on_reconstruction, on_prior = map(discriminator, (batch.images, reconstruction, prior))
        like = self.similarity(
            View(batch.images, on_real.features), View(reconstruction, on_reconstruction.features)
        ).mean()
        kl = made.posterior.kl().mean()
        fakes = {"prior": on_prior.logits}
        if self.settings.show_reconstructions:
            fakes["reconstruction"] = on_reconstruction.logits
        played = costs(on_real.logits, fakes, self.settings)
        decoder_moves, discriminator_moves = gates(played, self.settings, batch.share)
        losses = Losses(
            of={
                "encoder": self.settings.kl_weight * kl + like,
                "decoder": self.settings.gamma * like + played.generator,
                "discriminator": played.discriminator,
            },
            log={"kl": kl, "like": like, "gan.real": played.real, "gan.fake": played.fake},
            gates={"decoder": decoder_moves, "discriminator": discriminator_moves},
        )
        return _Judged(like, kl, played, losses)
