"""The reference networks: Larsen et al. 2016, table 1, for any size from 16 to 256 and any width, and MLPs.

What they return is float32 (a discriminator's inner layers aside), also where they compute in a lower precision. Every
model of a run builds its networks here, each under a seed of its own, so that two models of one seed start from
the same weights wherever they have the same network.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from math import ceil, log2
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from genbench.config import NetworkConfig
from genbench.convolutions import (
    Convolution,
    Doubling,
    Halving,
    from_blocks,
    in_blocks,
    normalise_blocks,
    to_blocks,
)
from genbench.interfaces import Posterior, Similarity
from genbench.randomness import derive
from genbench.train.precision import precise

MLP_HIDDEN = 1024
"""Units of an MLP's hidden layer at width 1."""


class Discrimination(NamedTuple):
    """What a discriminator says: logits (N,), positive for real, and its activations by layer, each (N, ...)."""

    logits: Tensor
    features: Mapping[str, Tensor]


class Features(Mapping[str, Tensor]):
    """Activations by layer, in their order; some are laid out as images only when somebody asks for them."""

    def __init__(self) -> None:
        self._found: dict[str, Tensor | Callable[[], Tensor]] = {}

    def __setitem__(self, layer: str, activation: Tensor) -> None:
        self._found[layer] = activation

    def later(self, layer: str, activation: Callable[[], Tensor]) -> None:
        """Put a layer that is computed when it is asked for."""
        self._found[layer] = activation

    def __getitem__(self, layer: str) -> Tensor:
        found = self._found[layer]
        return found if isinstance(found, Tensor) else found()

    def __iter__(self) -> Iterator[str]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)


class Encoder(nn.Module):
    """Images (N, C, H, W) to q(z|x)."""

    def forward(self, images: Tensor) -> Posterior:
        raise NotImplementedError


class Decoder(nn.Module):
    """Latents (N, latent_size) to images (N, C, H, W) in [-1, 1]."""

    def forward(self, latents: Tensor) -> Tensor:
        raise NotImplementedError


class Discriminator(nn.Module):
    """Images (N, C, H, W) to logits and features."""

    def forward(self, images: Tensor) -> Discrimination:
        raise NotImplementedError


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
            return MlpEncoder(self) if self.network.kind == "mlp" else ConvEncoder(self)

    def decoder(self) -> Decoder:
        """Build the decoder (a GAN's generator), from the run's seed."""
        with seeded(self.seed, "init", "decoder"):
            return MlpDecoder(self) if self.network.kind == "mlp" else ConvDecoder(self)

    def discriminator(self) -> Discriminator:
        """Build the discriminator, from the run's seed."""
        with seeded(self.seed, "init", "discriminator"):
            return MlpDiscriminator(self) if self.network.kind == "mlp" else ConvDiscriminator(self)

    def wide(self, channels: int) -> int:
        """Return a channel count of the paper's table scaled by the width factor."""
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


def _widen(head: list[int], levels: int) -> list[int]:
    """Repeat the last of the paper's channel counts for the levels that larger images need."""
    return head + [head[-1]] * (levels - len(head))


class ConvEncoder(Encoder):
    """Strided 5×5 convolutions 64-128-256 with batch-norm and ReLU, a hidden layer of 2048, mean and log-variance."""

    def __init__(self, blueprint: Blueprint) -> None:
        super().__init__()
        sides = blueprint.sides()
        channels = [blueprint.channels, *map(blueprint.wide, _widen([64, 128, 256], len(sides) - 1))]
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise(channels):
            layers += [Halving(inputs, outputs), nn.BatchNorm2d(outputs), nn.ReLU()]
        hidden = blueprint.wide(blueprint.network.encoder_hidden)
        self.side, self.channels = sides[0], channels[0]
        self.convolutions = nn.Sequential(*layers)
        self.hidden = nn.Sequential(
            nn.Linear(channels[-1] * sides[-1] ** 2, hidden, bias=False), nn.BatchNorm1d(hidden), nn.ReLU()
        )
        self.posterior = nn.Linear(hidden, 2 * blueprint.network.latent_size)

    def forward(self, images: Tensor) -> Posterior:
        first = cast(Halving, self.convolutions[0])
        x = first.from_blocks(to_blocks(images)) if in_blocks(images, self.side, self.channels) else first(images)
        x = self.convolutions[1:](x)
        mean, log_variance = precise(self.posterior(self.hidden(x.flatten(1)))).chunk(2, dim=1)
        return Posterior(mean, log_variance)


class ConvDecoder(Decoder):
    """A hidden layer of 8·8·256, transposed 5×5 convolutions 256-128-32 with batch-norm and ReLU, a 5×5 one, tanh."""

    def __init__(self, blueprint: Blueprint) -> None:
        super().__init__()
        sides = blueprint.sides()[::-1]
        levels = len(sides) - 1
        channels = [blueprint.wide(c) for c in [256, *[256] * (levels - 3), 256, 128, 32]]
        inner = channels[0] * sides[0] ** 2
        self.shape = (channels[0], sides[0], sides[0])
        self.side, self.channels = sides[-1], channels[-1]
        self.hidden = nn.Sequential(
            nn.Linear(blueprint.network.latent_size, inner, bias=False), nn.BatchNorm1d(inner), nn.ReLU()
        )
        layers: list[nn.Module] = []
        for level in range(levels):
            layers += [
                Doubling(channels[level], channels[level + 1], odd=sides[level + 1] % 2 == 1),
                nn.BatchNorm2d(channels[level + 1]),
                nn.ReLU(),
            ]
        self.convolutions = nn.Sequential(*layers, Convolution(channels[-1], blueprint.channels))

    def forward(self, latents: Tensor) -> Tensor:
        half = self.convolutions[:-4](self.hidden(latents).unflatten(1, self.shape))
        if not in_blocks(latents, self.side, self.channels):
            return precise(self.convolutions[-4:](half)).tanh()
        doubling, norm, _, last = cast(tuple[Doubling, nn.BatchNorm2d, nn.ReLU, Convolution], self.convolutions[-4:])
        active = normalise_blocks(norm, doubling.to_blocks(half)).relu()
        return precise(from_blocks(last.on_blocks(active))).tanh()


class ConvDiscriminator(Discriminator):
    """A 5×5 convolution 32 without batch-norm, strided ones 128-256-256 with it, a hidden layer of 512, one logit.

    Features: `conv`, then `down1`, `down2`, ... for the strided convolutions and `hidden` for the fully connected
    layer, all raw (before batch-norm), each with a twin `...-act` after its activation; and `logit`.
    """

    def __init__(self, blueprint: Blueprint) -> None:
        super().__init__()
        sides = blueprint.sides()
        channels = [blueprint.wide(c) for c in [32, *_widen([128, 256, 256], len(sides) - 1)]]
        self.side = sides[0]
        self.first = Convolution(blueprint.channels, channels[0])
        self.strided = nn.ModuleList(Halving(i, o) for i, o in pairwise(channels))
        self.norms = nn.ModuleList(nn.BatchNorm2d(c) for c in channels[1:])
        hidden = blueprint.wide(512)
        self.hidden = nn.Linear(channels[-1] * sides[-1] ** 2, hidden, bias=False)
        self.hidden_norm = nn.BatchNorm1d(hidden)
        self.logit = nn.Linear(hidden, 1)

    def forward(self, images: Tensor) -> Discrimination:
        features = Features()
        raw = self._first(images, features)
        for level, norm in enumerate(self.norms, start=1):
            features[f"down{level}"] = raw
            x = features[f"down{level}-act"] = norm(raw).relu()
            if level < len(self.strided):
                raw = self.strided[level](x)
        raw = features["hidden"] = self.hidden(x.flatten(1))
        x = features["hidden-act"] = self.hidden_norm(raw).relu()
        logit = features["logit"] = precise(self.logit(x))
        return Discrimination(logit.squeeze(1), features)

    def _first(self, images: Tensor, features: Features) -> Tensor:
        """Compute all that is at full resolution, and the first strided convolution of it."""
        strided = cast(Halving, self.strided[0])
        if not in_blocks(images, self.side, self.first.out_channels):
            raw = features["conv"] = self.first(images)
            x = features["conv-act"] = raw.relu()
            halved: Tensor = strided(x)
            return halved
        blocks = self.first.on_blocks(to_blocks(images))
        active = blocks.relu()
        features.later("conv", lambda: from_blocks(blocks))
        features.later("conv-act", lambda: from_blocks(active))
        return strided.from_blocks(active)


class MlpEncoder(Encoder):
    """Two hidden layers of 1024 with batch-norm and ReLU, then mean and log-variance."""

    def __init__(self, blueprint: Blueprint) -> None:
        super().__init__()
        hidden = blueprint.wide(MLP_HIDDEN)
        self.layers = nn.Sequential(
            nn.Flatten(), *_dense(blueprint.channels * blueprint.size**2, hidden), *_dense(hidden, hidden)
        )
        self.posterior = nn.Linear(hidden, 2 * blueprint.network.latent_size)

    def forward(self, images: Tensor) -> Posterior:
        mean, log_variance = precise(self.posterior(self.layers(images))).chunk(2, dim=1)
        return Posterior(mean, log_variance)


class MlpDecoder(Decoder):
    """Two hidden layers of 1024 with batch-norm and ReLU, then tanh."""

    def __init__(self, blueprint: Blueprint) -> None:
        super().__init__()
        hidden = blueprint.wide(MLP_HIDDEN)
        shape = (blueprint.channels, blueprint.size, blueprint.size)
        self.layers = nn.Sequential(
            *_dense(blueprint.network.latent_size, hidden),
            *_dense(hidden, hidden),
            nn.Linear(hidden, blueprint.channels * blueprint.size**2),
            nn.Unflatten(1, shape),
        )

    def forward(self, latents: Tensor) -> Tensor:
        return precise(self.layers(latents)).tanh()


class MlpDiscriminator(Discriminator):
    """Two hidden layers of 1024, the second with batch-norm, and one logit.

    Features: `hidden1` and `hidden2` raw, each with a twin `...-act` after its activation; and `logit`.
    """

    def __init__(self, blueprint: Blueprint) -> None:
        super().__init__()
        hidden = blueprint.wide(MLP_HIDDEN)
        self.hidden1 = nn.Linear(blueprint.channels * blueprint.size**2, hidden)
        self.hidden2 = nn.Linear(hidden, hidden, bias=False)
        self.norm2 = nn.BatchNorm1d(hidden)
        self.logit = nn.Linear(hidden, 1)

    def forward(self, images: Tensor) -> Discrimination:
        features = {"hidden1": self.hidden1(images.flatten(1))}
        x = features["hidden1-act"] = features["hidden1"].relu()
        features["hidden2"] = self.hidden2(x)
        x = features["hidden2-act"] = self.norm2(features["hidden2"]).relu()
        features["logit"] = precise(self.logit(x))
        return Discrimination(features["logit"].squeeze(1), features)


def _dense(inputs: int, outputs: int) -> list[nn.Module]:
    return [nn.Linear(inputs, outputs, bias=False), nn.BatchNorm1d(outputs), nn.ReLU()]
