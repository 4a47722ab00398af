"""MLPs with LeakyReLU and dropout, without batch-norm, as `edchengg/VAE_GAN` has them; for images of any size.

Before each layer, the first one included, a tenth of its inputs is dropped in training. Each pass through a network
draws masks of its own from torch's default generator. That replays of a CUDA graph draw them anew is torch's promise,
unmeasured here.
"""

from itertools import pairwise
from typing import TYPE_CHECKING

from torch import Tensor, nn

from genbench.interfaces import Posterior
from genbench.networks.interface import Decoder, Discrimination, Discriminator, Encoder
from genbench.train.precision import precise

if TYPE_CHECKING:
    from genbench.networks.blueprint import Blueprint

SLOPE = 0.2
"""Of a LeakyReLU below zero."""

DROPPED = 0.1
"""Part of a layer's inputs that is dropped."""

HIDDEN = (1024, 1024, 1024)
"""Units of the hidden layers of encoder and decoder at width 1."""


class MlpLeakyEncoder(Encoder):
    """Three hidden layers of 1024, then mean and log-variance, each from inputs dropped by themselves."""

    def __init__(self, blueprint: "Blueprint") -> None:
        super().__init__()
        units = [blueprint.channels * blueprint.size**2, *map(blueprint.wide, HIDDEN)]
        self.layers = nn.Sequential(nn.Flatten(), *_hidden(units))
        self.mean = _dropping(units[-1], blueprint.network.latent_size)
        self.log_variance = _dropping(units[-1], blueprint.network.latent_size)

    def forward(self, images: Tensor) -> Posterior:
        x = self.layers(images)
        return Posterior(precise(self.mean(x)), precise(self.log_variance(x)))


class MlpLeakyDecoder(Decoder):
    """Three hidden layers of 1024, then tanh; of z, too, a tenth is dropped."""

    def __init__(self, blueprint: "Blueprint") -> None:
        super().__init__()
        units = [blueprint.network.latent_size, *map(blueprint.wide, HIDDEN)]
        shape = (blueprint.channels, blueprint.size, blueprint.size)
        self.layers = nn.Sequential(
            *_hidden(units),
            _dropping(units[-1], blueprint.channels * blueprint.size**2),
            nn.Unflatten(1, shape),
        )

    def forward(self, latents: Tensor) -> Tensor:
        return precise(self.layers(latents)).tanh()


class MlpLeakyDiscriminator(Discriminator):
    """Hidden layers of 1024, 512 and 256, and one logit.

    Features: `hidden1` to `hidden3` raw, each with a twin `...-act` after its activation; and `logit`, which that code
    compares. In training the features of two images differ by their masks, too, even those of equal images, so that a
    distance never reaches zero; that code has it so as well, but draws masks anew for the comparison, where here one
    pass serves both comparison and verdict.
    """

    def __init__(self, blueprint: "Blueprint") -> None:
        super().__init__()
        units = [blueprint.channels * blueprint.size**2, *map(blueprint.wide, (1024, 512, 256))]
        self.hidden = nn.ModuleList(_dropping(i, o) for i, o in pairwise(units))
        self.logit = _dropping(units[-1], 1)
        self.activation = nn.LeakyReLU(SLOPE)

    def forward(self, images: Tensor) -> Discrimination:
        features: dict[str, Tensor] = {}
        x = images.flatten(1)
        for number, layer in enumerate(self.hidden, start=1):
            raw = features[f"hidden{number}"] = layer(x)
            x = features[f"hidden{number}-act"] = self.activation(raw)
        features["logit"] = precise(self.logit(x))
        return Discrimination(features["logit"].squeeze(1), features)


def _dropping(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Dropout(DROPPED), nn.Linear(inputs, outputs))


def _hidden(units: list[int]) -> list[nn.Module]:
    return [layer for i, o in pairwise(units) for layer in (_dropping(i, o), nn.LeakyReLU(SLOPE))]
