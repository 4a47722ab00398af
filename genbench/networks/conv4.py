"""Four strided 4×4 convolutions, as plain VAEs of faces have them; for any size from 16 to 256 px.

Each halves the side, rounding down: 128 px become 64, 32, 16, 8. There is no hidden layer, so `encoder_hidden` can't be
set. The discriminator, which a plain VAE does not have, is made of the same convolutions.
"""

from itertools import pairwise
from typing import TYPE_CHECKING

from torch import Tensor, nn

from genbench.interfaces import Posterior
from genbench.networks.interface import Decoder, Discrimination, Discriminator, Encoder
from genbench.train.precision import precise

if TYPE_CHECKING:
    from genbench.networks.blueprint import Blueprint

CHANNELS = (32, 64, 128, 256)
"""Of the convolutions at width 1, from the image inwards."""


class Conv4Encoder(Encoder):
    """Convolutions 32-64-128-256 with batch-norm and ReLU, then mean and log-variance."""

    def __init__(self, blueprint: "Blueprint") -> None:
        super().__init__()
        channels = [blueprint.channels, *map(blueprint.wide, CHANNELS)]
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise(channels):
            layers += [_halving(inputs, outputs, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]
        self.convolutions = nn.Sequential(*layers)
        self.posterior = nn.Linear(channels[-1] * _sides(blueprint)[-1] ** 2, 2 * blueprint.network.latent_size)

    def forward(self, images: Tensor) -> Posterior:
        mean, log_variance = precise(self.posterior(self.convolutions(images).flatten(1))).chunk(2, dim=1)
        return Posterior(mean, log_variance)


class Conv4Decoder(Decoder):
    """The encoder mirrored, without batch-norm: a layer of 256 maps, transposed convolutions 128-64-32, a sigmoid.

    The sigmoid's values in [0, 1] are mapped to [-1, 1].
    """

    def __init__(self, blueprint: "Blueprint") -> None:
        super().__init__()
        sides = _sides(blueprint)[::-1]
        channels = [*map(blueprint.wide, reversed(CHANNELS)), blueprint.channels]
        self.hidden = nn.Linear(blueprint.network.latent_size, channels[0] * sides[0] ** 2)
        self.shape = (channels[0], sides[0], sides[0])
        layers: list[nn.Module] = []
        for inputs, outputs, side in zip(channels, channels[1:], sides[1:], strict=False):
            layers += [nn.ReLU(), nn.ConvTranspose2d(inputs, outputs, 4, 2, 1, output_padding=side % 2)]
        self.convolutions = nn.Sequential(*layers)

    def forward(self, latents: Tensor) -> Tensor:
        return 2 * precise(self.convolutions(self.hidden(latents).unflatten(1, self.shape))).sigmoid() - 1


class Conv4Discriminator(Discriminator):
    """The encoder's convolutions, the first one without batch-norm, and one logit.

    Features: `down1` to `down4` raw (before batch-norm), each with a twin `...-act` after its activation; and `logit`.
    """

    def __init__(self, blueprint: "Blueprint") -> None:
        super().__init__()
        channels = [blueprint.channels, *map(blueprint.wide, CHANNELS)]
        self.strided = nn.ModuleList(_halving(i, o, bias=level == 0) for level, (i, o) in enumerate(pairwise(channels)))
        self.norms = nn.ModuleList([nn.Identity(), *(nn.BatchNorm2d(c) for c in channels[2:])])
        self.logit = nn.Linear(channels[-1] * _sides(blueprint)[-1] ** 2, 1)

    def forward(self, images: Tensor) -> Discrimination:
        features: dict[str, Tensor] = {}
        x = images
        for level, (convolution, norm) in enumerate(zip(self.strided, self.norms, strict=True), start=1):
            raw = features[f"down{level}"] = convolution(x)
            x = features[f"down{level}-act"] = norm(raw).relu()
        features["logit"] = precise(self.logit(x.flatten(1)))
        return Discrimination(features["logit"].squeeze(1), features)


def _halving(inputs: int, outputs: int, *, bias: bool) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 4, stride=2, padding=1, bias=bias)


def _sides(blueprint: "Blueprint") -> list[int]:
    """Return the side of the feature maps, from the image down to the innermost."""
    blueprint.network.check_size(blueprint.size)
    return [blueprint.size >> level for level in range(len(CHANNELS) + 1)]
