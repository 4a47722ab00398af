"""What a model is built from, and the seed of its first weights."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import ceil, log2

import torch

from genbench.config import NetworkConfig
from genbench.interfaces import Similarity
from genbench.networks.interface import Decoder, Discriminator, Encoder
from genbench.networks.kinds import KINDS
from genbench.randomness import derive


@dataclass(frozen=True)
class Blueprint:
    """What a model is built from.

    Attributes:
        channels: of the images.
        size: side of the images in pixels.
        network: kind, width and latent size of the shared networks.
        images: the run's budget in training images.
        seed: of the run.
        attribute_names: of the data set; empty where it has none.
        similarity: already weighted; None for a model that reconstructs nothing.
    """

    channels: int
    size: int
    network: NetworkConfig
    images: int
    seed: int
    attribute_names: tuple[str, ...] = ()
    similarity: Similarity | None = None

    def encoder(self) -> Encoder:
        """Build the encoder, from the run's seed."""
        with seeded(self.seed, "init", "encoder"):
            return KINDS[self.network.kind].encoder(self)

    def decoder(self) -> Decoder:
        """Build the decoder (a GAN's generator), from the run's seed."""
        with seeded(self.seed, "init", "decoder"):
            return KINDS[self.network.kind].decoder(self)

    def discriminator(self) -> Discriminator:
        """Build the discriminator, from the run's seed."""
        with seeded(self.seed, "init", "discriminator"):
            return KINDS[self.network.kind].discriminator(self)

    def wide(self, channels: int) -> int:
        """Return a number of channels or units at width 1 scaled by the width factor."""
        return max(1, round(channels * self.network.width))

    def sides(self) -> list[int]:
        """Return the side of the feature maps, from the image down to the innermost: at 64 px, 64, 32, 16, 8.

        Every level halves, rounding up: three levels up to 64 px, as in the paper; above, as many as end at 8 px.
        """
        self.network.check_size(self.size)
        sides = [self.size]
        for _ in range(max(3, ceil(log2(self.size / 8)))):
            sides.append(ceil(sides[-1] / 2))
        return sides


@contextmanager
def seeded(seed: int, *purpose: str | int) -> Iterator[None]:
    """Seed torch's default generator of the CPU for one purpose, and put its state back afterwards."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(seed, *purpose))
        yield
