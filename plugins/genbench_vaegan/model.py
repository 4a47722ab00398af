"""VAE/GAN: a VAE whose reconstruction error is measured by a learned similarity (Larsen et al. 2016)."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from genbench.adversarial.costs import Costs, costs, gates
from genbench.adversarial.gan import cut, play
from genbench.interfaces import Batch, Gradients, Losses, Model, Posterior, Similarity, View
from genbench.networks import Blueprint, Discrimination, parted
from genbench.train.gradients import detached, differentiate, gradient_in, trainable
from genbench_vaegan.settings import VaeGanSettings


@dataclass(frozen=True)
class _Made:
    """What encoder and decoder make of a batch."""

    posterior: Posterior
    reconstruction: Tensor
    prior: Tensor


@dataclass(frozen=True)
class _Seen:
    """What the discriminator says: real images and reconstructions for the similarity, and the logits of the game."""

    real: View
    reconstruction: View
    on_real: Tensor
    on_fakes: Mapping[str, Tensor]


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

    With `one_batch` two batches pass the discriminator, as in the authors' code: reconstructions with real images for
    the similarity, and generated with real images for the GAN. Both move the one set of running statistics, where the
    authors' copy for the similarity has its own. In the minimax game the decoder's cost is then the whole negative of
    the discriminator's: by batch-norm the verdict on real images depends on generated ones, too.
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

    def views(self, batch: Batch) -> tuple[View, View]:
        if not self.settings.one_batch:
            return super().views(batch)
        posterior = self.encode(batch)
        latents = posterior.sample(batch.noise(posterior.mean.shape[1]))
        return self._compare(batch.images, cut(self.decode(latents)))

    def features(self, images: Tensor) -> Mapping[str, Tensor]:
        judged: Discrimination = self.networks["discriminator"](images)
        return judged.features

    def _make(self, batch: Batch) -> _Made:
        encoder, decoder, _ = self.networks.values()
        size = self.blueprint.network.latent_size
        posterior = encoder(batch.images)
        # Each kind of image has a pass of its own through the decoder: batch-norm that mixes reconstructions and prior
        # samples learns statistics that fit neither in evaluation mode.
        reconstruction = decoder(posterior.sample(batch.noise(size)))
        return _Made(posterior, reconstruction, decoder(batch.noise(size)))

    def _judge(self, batch: Batch, made: _Made, reconstruction: Tensor, prior: Tensor) -> _Judged:
        """Compute every loss of images that are, or are cut off from, what was made."""
        look = self._look_at_both if self.settings.one_batch else self._look_at_each
        seen = look(batch.images, reconstruction, prior)
        like = self.similarity(seen.real, seen.reconstruction).mean()
        kl = made.posterior.kl().mean()
        played = costs(seen.on_real, seen.on_fakes, self.settings, added_up=self.settings.fake_cost == "sum")
        if self.settings.one_batch and self.settings.saturating:
            played = played._replace(generator=-played.discriminator)
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

    def _look_at_each(self, images: Tensor, reconstruction: Tensor, prior: Tensor) -> _Seen:
        """Pass each kind of image through the discriminator by itself."""
        discriminator = self.networks["discriminator"]
        on_real, on_reconstruction, on_prior = map(discriminator, (images, reconstruction, prior))
        fakes = {"prior": on_prior.logits}
        if self.settings.show_reconstructions:
            fakes["reconstruction"] = on_reconstruction.logits
        views = View(images, on_real.features), View(reconstruction, on_reconstruction.features)
        return _Seen(*views, on_real.logits, fakes)

    def _look_at_both(self, images: Tensor, reconstruction: Tensor, prior: Tensor) -> _Seen:
        """Pass real and generated images through the discriminator together, for the similarity and for the GAN."""
        fakes = {"prior": prior}
        if self.settings.show_reconstructions:
            fakes["reconstruction"] = reconstruction
        views = self._compare(images, reconstruction)
        on_real, *on_fakes = self._together(images, *fakes.values())
        logits = {name: judged.logits for name, judged in zip(fakes, on_fakes, strict=True)}
        return _Seen(*views, on_real.logits, logits)

    def _compare(self, images: Tensor, reconstruction: Tensor) -> tuple[View, View]:
        on_reconstruction, on_real = self._together(reconstruction, images)
        return View(images, on_real.features), View(reconstruction, on_reconstruction.features)

    def _together(self, *kinds: Tensor) -> list[Discrimination]:
        """Pass kinds of images through the discriminator in one batch; return what it says of each kind."""
        judged: Discrimination = self.networks["discriminator"](torch.cat(kinds))
        return parted(judged, [len(images) for images in kinds])
