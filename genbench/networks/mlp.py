"""MLPs with batch-norm and ReLU, for images of any size."""

from typing import TYPE_CHECKING

from torch import Tensor, nn

from genbench.interfaces import Posterior
from genbench.networks.interface import Decoder, Discrimination, Discriminator, Encoder
from genbench.train.precision import precise

if TYPE_CHECKING:
    from genbench.networks.blueprint import Blueprint

MLP_HIDDEN = 1024
"""Units of an MLP's hidden layer at width 1."""


class MlpEncoder(Encoder):
    """Two hidden layers of 1024 with batch-norm and ReLU, then mean and log-variance."""

    def __init__(self, blueprint: "Blueprint") -> None:
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

    def __init__(self, blueprint: "Blueprint") -> None:
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

    def __init__(self, blueprint: "Blueprint") -> None:
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
