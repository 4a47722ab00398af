"""A GAN's losses and gradients, for the model `gan` and for every model that trains one on its way."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from genbench.adversarial.costs import Costs, costs, gates
from genbench.adversarial.settings import AdversarialSettings
from genbench.interfaces import Batch
from genbench.train.gradients import Gradients, Losses, Own, detached, differentiate, trainable


@dataclass(frozen=True)
class Game:
    """A generator, by the name of its network, against the network `discriminator`."""

    networks: nn.ModuleDict
    generator: str
    latent_size: int
    settings: AdversarialSettings

    def losses(self, batch: Batch) -> Losses:
        """Return the losses and gates of both networks, for a batch of real images and as many generated ones."""
        generated = self._generate(batch)
        return self._play(batch, generated)[1]

    def gradients(self, batch: Batch) -> Gradients:
        """Return what `losses` would give, with the graph cut at the generated images."""
        generated = self._generate(batch)
        shown = cut(generated)
        played, losses = self._play(batch, shown)
        own, (towards,) = play(self.networks["discriminator"], played, [shown], self.settings)
        generators = differentiate([generated], trainable(self.networks[self.generator]), [towards])
        return Gradients({self.generator: generators, "discriminator": own}, detached(losses.log), losses.gates)

    def _generate(self, batch: Batch) -> Tensor:
        images: Tensor = self.networks[self.generator](batch.noise(self.latent_size))
        return images

    def _play(self, batch: Batch, generated: Tensor) -> tuple[Costs, Losses]:
        discriminator = self.networks["discriminator"]
        played = costs(discriminator(batch.images).logits, {"prior": discriminator(generated).logits}, self.settings)
        generator_moves, discriminator_moves = gates(played, self.settings, batch.share)
        return played, Losses(
            of={self.generator: played.generator, "discriminator": played.discriminator},
            log={"gan.real": played.real, "gan.fake": played.fake},
            gates={self.generator: generator_moves, "discriminator": discriminator_moves},
        )


def cut(images: Tensor) -> Tensor:
    """Return images as a leaf of their own, at which what judges them and what made them are differentiated apart."""
    return images.detach().requires_grad_()


def play(
    discriminator: nn.Module, played: Costs, shown: Sequence[Tensor], settings: AdversarialSettings
) -> tuple[Own, tuple[Tensor, ...]]:
    """Return the discriminator's gradient of its own cost, and the gradient of the generator's in what it was shown.

    In the minimax game the generator's cost is the negative of all that it can move in the discriminator's: the part on
    generated images, and where these share a batch with real ones the other part, too. So one backward pass gives both.
    Of the non-saturating cost it does not: batch-norm couples a batch's images, so the two are not multiples of each
    other.
    """
    parameters = trainable(discriminator)
    if settings.saturating:
        both = differentiate([played.discriminator], [*parameters, *shown])
        towards = both[len(parameters) :]
        return both[: len(parameters)], tuple(-gradient for gradient in _all(towards))
    own = differentiate([played.discriminator], parameters, retain_graph=True)
    return own, _all(differentiate([played.generator], shown))


def _all(gradients: Own) -> tuple[Tensor, ...]:
    """Return gradients in images that a discriminator was shown: its verdict depends on all of them."""
    return tuple(gradient for gradient in gradients if gradient is not None)
