"""The reference networks: Larsen et al. 2016, table 1, for any size from 16 to 256 px and any width."""

from itertools import pairwise
from typing import TYPE_CHECKING, cast

from torch import Tensor, nn

from genbench.convolutions import (
    Convolution,
    Doubling,
    Halving,
    from_blocks,
    in_blocks,
    normalise_blocks,
    to_blocks,
)
from genbench.interfaces import Posterior
from genbench.networks.interface import Decoder, Discrimination, Discriminator, Encoder, Features
from genbench.train.precision import precise

if TYPE_CHECKING:
    from genbench.networks.blueprint import Blueprint


def widen(head: list[int], levels: int) -> list[int]:
    """Repeat the last of the paper's channel counts for the levels that larger images need."""
    return head + [head[-1]] * (levels - len(head))


class ConvEncoder(Encoder):
    """Strided 5×5 convolutions 64-128-256 with batch-norm and ReLU, a hidden layer of 2048, mean and log-variance."""

    def __init__(self, blueprint: "Blueprint") -> None:
        super().__init__()
        sides = blueprint.sides()
        channels = [blueprint.channels, *map(blueprint.wide, widen([64, 128, 256], len(sides) - 1))]
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

    def __init__(self, blueprint: "Blueprint") -> None:
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

    def __init__(self, blueprint: "Blueprint") -> None:
        super().__init__()
        sides = blueprint.sides()
        channels = [blueprint.wide(c) for c in [32, *widen([128, 256, 256], len(sides) - 1)]]
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
