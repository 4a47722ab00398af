"""The paper's networks as `rishabhd786/VAE-GAN-PYTORCH` has them: with biases, LeakyReLU, and a decoder of 6×6 kernels.

The widths are those of Larsen et al. 2016, table 1. Encoder and decoder begin with convolutions from N(0, 0.02²) and
batch-norm's factors from N(1, 0.02²), the discriminator with torch's own weights, as in that code. Its batch-norm
replaces nine tenths of the running statistics at each step, and is never used but in training mode; here they move by
torch's usual tenth.
"""

from itertools import pairwise
from typing import TYPE_CHECKING

from torch import Tensor, nn

from genbench.interfaces import Posterior
from genbench.networks.conv import widen
from genbench.networks.interface import Decoder, Discrimination, Discriminator, Encoder
from genbench.train.precision import precise

if TYPE_CHECKING:
    from genbench.networks.blueprint import Blueprint

SLOPE = 0.2
"""Of a LeakyReLU below zero."""

SPREAD = 0.02
"""Standard deviation of what encoder and decoder begin with."""


class ConvLeakyEncoder(Encoder):
    """Strided 5×5 convolutions 64-128-256, a hidden layer of 2048, all with batch-norm; mean and log-variance."""

    def __init__(self, blueprint: "Blueprint") -> None:
        super().__init__()
        sides = blueprint.sides()
        channels = [blueprint.channels, *map(blueprint.wide, widen([64, 128, 256], len(sides) - 1))]
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise(channels):
            layers += [_halving(inputs, outputs), nn.BatchNorm2d(outputs), nn.LeakyReLU(SLOPE)]
        hidden = blueprint.wide(blueprint.network.encoder_hidden)
        self.convolutions = nn.Sequential(*layers)
        self.hidden = nn.Sequential(
            nn.Linear(channels[-1] * sides[-1] ** 2, hidden), nn.BatchNorm1d(hidden), nn.LeakyReLU(SLOPE)
        )
        self.posterior = nn.Linear(hidden, 2 * blueprint.network.latent_size)
        self.apply(_begin)

    def forward(self, images: Tensor) -> Posterior:
        x = self.hidden(self.convolutions(images).flatten(1))
        mean, log_variance = precise(self.posterior(x)).chunk(2, dim=1)
        return Posterior(mean, log_variance)


class ConvLeakyDecoder(Decoder):
    """A hidden layer of 8·8·256, transposed 6×6 convolutions 256-128-32, all with batch-norm; a 5×5 one, tanh."""

    def __init__(self, blueprint: "Blueprint") -> None:
        super().__init__()
        sides = blueprint.sides()[::-1]
        levels = len(sides) - 1
        channels = [blueprint.wide(c) for c in [256, *[256] * (levels - 3), 256, 128, 32]]
        inner = channels[0] * sides[0] ** 2
        self.shape = (channels[0], sides[0], sides[0])
        self.hidden = nn.Sequential(
            nn.Linear(blueprint.network.latent_size, inner), nn.BatchNorm1d(inner), nn.LeakyReLU(SLOPE)
        )
        layers: list[nn.Module] = []
        for inputs, outputs, side in zip(channels, channels[1:], sides[1:], strict=False):
            layers += [_doubling(inputs, outputs, side), nn.BatchNorm2d(outputs), nn.LeakyReLU(SLOPE)]
        self.convolutions = nn.Sequential(*layers, nn.Conv2d(channels[-1], blueprint.channels, 5, padding=2))
        self.apply(_begin)

    def forward(self, latents: Tensor) -> Tensor:
        return precise(self.convolutions(self.hidden(latents).unflatten(1, self.shape))).tanh()


class ConvLeakyDiscriminator(Discriminator):
    """A 5×5 convolution 32 without batch-norm, strided ones 128-256-256 with it, a hidden layer of 512, one logit.

    Features: those of `ConvDiscriminator`, by the same names. That code compares `down3-act`, what comes of the last
    convolution after batch-norm and activation.
    """

    def __init__(self, blueprint: "Blueprint") -> None:
        super().__init__()
        sides = blueprint.sides()
        channels = [blueprint.wide(c) for c in [32, *widen([128, 256, 256], len(sides) - 1)]]
        hidden = blueprint.wide(512)
        self.first = nn.Conv2d(blueprint.channels, channels[0], 5, padding=2)
        self.strided = nn.ModuleList(_halving(i, o) for i, o in pairwise(channels))
        self.norms = nn.ModuleList(nn.BatchNorm2d(c) for c in channels[1:])
        self.hidden = nn.Linear(channels[-1] * sides[-1] ** 2, hidden)
        self.hidden_norm = nn.BatchNorm1d(hidden)
        self.logit = nn.Linear(hidden, 1)
        self.activation = nn.LeakyReLU(SLOPE)

    def forward(self, images: Tensor) -> Discrimination:
        features = {"conv": self.first(images)}
        x = features["conv-act"] = self.activation(features["conv"])
        for level, (convolution, norm) in enumerate(zip(self.strided, self.norms, strict=True), start=1):
            raw = features[f"down{level}"] = convolution(x)
            x = features[f"down{level}-act"] = self.activation(norm(raw))
        features["hidden"] = self.hidden(x.flatten(1))
        x = features["hidden-act"] = self.activation(self.hidden_norm(features["hidden"]))
        features["logit"] = precise(self.logit(x))
        return Discrimination(features["logit"].squeeze(1), features)


def _halving(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 5, stride=2, padding=2)


def _doubling(inputs: int, outputs: int, side: int) -> nn.ConvTranspose2d:
    """Return what leads to a side: a 6×6 kernel doubles, a 5×5 one gives one pixel less."""
    return nn.ConvTranspose2d(inputs, outputs, 6 - side % 2, stride=2, padding=2)


def _begin(module: nn.Module) -> None:
    """Draw the first weights of a layer, if it is a convolution or batch-norm."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, 0.0, SPREAD)
    elif isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, SPREAD)
