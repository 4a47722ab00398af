"""The variational autoencoder (Kingma & Welling 2014)."""

from torch import nn

from genbench.interfaces import Batch, Losses, Model, Similarity, View
from genbench.networks import Blueprint
from genbench_vae.settings import VaeSettings


class Vae(Model):
    """Encoder and decoder minimise KL + L_like, the negative lower bound (equation 7); the similarity is L_like."""

    similarity: Similarity

    def __init__(self, blueprint: Blueprint, settings: VaeSettings) -> None:
        super().__init__(blueprint)
        self.settings = settings
        self.networks = nn.ModuleDict({"encoder": blueprint.encoder(), "decoder": blueprint.decoder()})

    def losses(self, batch: Batch) -> Losses:
        posterior = self.encode(batch)
        reconstruction = self.decode(posterior.sample(batch.noise(self.blueprint.network.latent_size)))
        like = self.similarity(View(batch.images), View(reconstruction)).mean()
        kl = posterior.kl().mean()
        # KL has no gradient in the decoder, so one loss serves both, in one backward pass.
        total = self.settings.kl_weight * kl + like
        return Losses(of={"encoder": total, "decoder": total}, log={"kl": kl, "like": like})

    def phase(self, images_seen: int) -> str:
        return "whole"
