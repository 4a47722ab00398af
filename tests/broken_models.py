"""Models that break one promise each, for the tests of the kit."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

import genbench
from genbench.errors import NotApplicable
from genbench.interfaces import Batch, Gradients, Losses, Model, Posterior, View
from genbench.networks import Blueprint
from genbench.train.gradients import route
from genbench_vae.model import Vae
from genbench_vae.settings import VaeSettings
from genbench_vaegan.model import VaeGan


class Sound(Vae):
    """Breaks none."""


class Conditional(Model):
    """A sound VAE that is told the attributes where there are any, and does without where there are none."""

    def __init__(self, blueprint: Blueprint) -> None:
        super().__init__(blueprint)
        size = blueprint.network.latent_size
        self.networks = nn.ModuleDict({"encoder": blueprint.encoder(), "decoder": blueprint.decoder()})
        self.networks["encoder"].known = nn.Linear(max(1, len(blueprint.attribute_names)), size, bias=False)

    def encode(self, batch: Batch) -> Posterior:
        mean, log_variance = self.networks["encoder"](batch.images)
        known = self.networks["encoder"].known
        labels = torch.ones(len(mean), known.in_features) if batch.attributes is None else batch.attributes
        return Posterior(mean + known(labels.to(mean)), log_variance)

    def losses(self, batch: Batch) -> Losses:
        posterior = self.encode(batch)
        reconstruction = self.decode(posterior.sample(batch.noise(posterior.mean.shape[1])))
        assert self.similarity is not None
        total = posterior.kl().mean() + self.similarity(View(batch.images), View(reconstruction)).mean()
        return Losses({"encoder": total, "decoder": total})


class Idle(Vae):
    def __init__(self, blueprint: Blueprint, settings: VaeSettings) -> None:
        super().__init__(blueprint, settings)
        self.networks["idle"] = nn.Linear(2, 2).requires_grad_(False)


class Unscalar(Vae):
    def losses(self, batch: Batch) -> Losses:
        found = super().losses(batch)
        return found if torch.is_grad_enabled() and batch.images_seen else replace(found, log={"kl": torch.zeros(3)})


class Infinite(Vae):
    def losses(self, batch: Batch) -> Losses:
        found = super().losses(batch)
        return replace(found, of={name: loss * math.inf for name, loss in found.of.items()})


class Misnamed(Vae):
    def losses(self, batch: Batch) -> Losses:
        found = super().losses(batch)
        return replace(found, of={"encoder": found.of["encoder"], "decodr": found.of["decoder"]})


class Dead(Vae):
    def __init__(self, blueprint: Blueprint, settings: VaeSettings) -> None:
        super().__init__(blueprint, settings)
        self.networks["encoder"].unused = nn.Linear(2, 2)


class Homeless(Vae):
    def __init__(self, blueprint: Blueprint, settings: VaeSettings) -> None:
        super().__init__(blueprint, settings)
        self.prior = nn.Parameter(torch.zeros(2))


class Shared(Vae):
    def __init__(self, blueprint: Blueprint, settings: VaeSettings) -> None:
        super().__init__(blueprint, settings)
        self.networks["twin"] = self.networks["decoder"]

    def losses(self, batch: Batch) -> Losses:
        found = super().losses(batch)
        return replace(found, of={**found.of, "twin": found.of["decoder"]})


class Leaky(Vae):
    """Gives the decoder more than its own loss."""

    def gradients(self, batch: Batch) -> Gradients:
        found = route(dict(self.networks.items()), self.losses(batch))
        doubled = tuple(None if each is None else 2 * each for each in found.of["decoder"])
        return replace(found, of={**found.of, "decoder": doubled})


class Ungated(Vae):
    """Forgets in its gradients the gate that its losses have, which is open anyway but once."""

    def losses(self, batch: Batch) -> Losses:
        return replace(super().losses(batch), gates={"decoder": torch.tensor(batch.images_seen != 16)})

    def gradients(self, batch: Batch) -> Gradients:
        return replace(route(dict(self.networks.items()), self.losses(batch)), gates={})


class Unbounded(Vae):
    def decode(self, latents: Tensor, attributes: Tensor | None = None) -> Tensor:
        return 3 * super().decode(latents)


class Unseeded(Vae):
    """Has a buffer that is another one each time."""

    def __init__(self, blueprint: Blueprint, settings: VaeSettings) -> None:
        super().__init__(blueprint, settings)
        generator = torch.Generator()
        generator.seed()
        self.register_buffer("stamp", torch.rand(3, generator=generator))


class Numpy(Vae):
    def losses(self, batch: Batch) -> Losses:
        np.random.normal()  # noqa: NPY002
        return super().losses(batch)


class Clamping(Vae):
    def losses(self, batch: Batch) -> Losses:
        batch.images.clamp_(-0.5, 0.5)
        return super().losses(batch)


class Halved(Vae):
    """Forgets half of its posterior once training is over."""

    def encode(self, batch: Batch) -> Posterior:
        posterior = super().encode(batch)
        return posterior if self.training else Posterior(posterior.mean, posterior.log_variance[:, :1])


class Demanding(Vae):
    """Wants attributes of whatever it encodes."""

    def encode(self, batch: Batch) -> Posterior:
        if not self.training and batch.attributes is None:
            raise KeyError("attributes")
        return super().encode(batch)


class Centred(Vae):
    def decode(self, latents: Tensor, attributes: Tensor | None = None) -> Tensor:
        images = super().decode(latents)
        return images if self.training else (images - images.mean(0)).clamp(-1, 1)


class Forgetful(Vae):
    """Learns a number that is in no checkpoint."""

    level = 0.0

    def losses(self, batch: Batch) -> Losses:
        if self.training:
            self.level += 0.1 * float(batch.images.mean())
        return super().losses(batch)

    def decode(self, latents: Tensor, attributes: Tensor | None = None) -> Tensor:
        images = super().decode(latents)
        return images if self.training else (images + self.level).clamp(-1, 1)


class Counting(Vae):
    """Lets its decoder rest in the second step after each start."""

    first: int | None = None

    def losses(self, batch: Batch) -> Losses:
        self.first = batch.images_seen if self.first is None else self.first
        resting = batch.images_seen == self.first + len(batch.images)
        return replace(super().losses(batch), gates={"decoder": torch.tensor(not resting)})


class OneSize(Vae):
    def __init__(self, blueprint: Blueprint, settings: VaeSettings) -> None:
        super().__init__(replace(blueprint, size=16, channels=3), settings)


class Refusing(Vae):
    """Says plainly what it is not for, which breaks no promise."""

    def __init__(self, blueprint: Blueprint, settings: VaeSettings) -> None:
        if blueprint.channels == 1:
            raise NotApplicable("it is for colours")
        super().__init__(blueprint, settings)


class Numbered(Vae):
    def phase(self, images_seen: int) -> str:
        return images_seen  # type: ignore[return-value]


class Whimsical(Vae):
    asked = 0

    def phase(self, images_seen: int) -> str:
        self.asked += 1
        return f"phase {self.asked}"


class Deaf(Vae):
    """Never asks the similarity that it declares."""

    def losses(self, batch: Batch) -> Losses:
        posterior = self.encode(batch)
        reconstruction = self.decode(posterior.sample(batch.noise(posterior.mean.shape[1])))
        total = posterior.kl().mean() + (reconstruction - batch.images).square().sum((1, 2, 3)).mean()
        return Losses({"encoder": total, "decoder": total})


class Hiding(VaeGan):
    """Declares a discriminator, and shows the weight's measure no features."""

    def features(self, images: Tensor) -> Mapping[str, Tensor]:
        return {}


class Coarse(Vae):
    """Can't do with bfloat16."""

    def losses(self, batch: Batch) -> Losses:
        found = super().losses(batch)
        if not torch.is_autocast_enabled("cpu"):
            return found
        return replace(found, of={name: loss * math.nan for name, loss in found.of.items()})


class Networkless(Vae):
    def __init__(self, blueprint: Blueprint, settings: VaeSettings) -> None:
        super().__init__(blueprint, settings)
        self.networks = nn.ModuleDict()


class Plugin:
    """Declares all of them, by the names of their classes."""

    @genbench.hookimpl
    def genbench_models(self) -> Iterator[genbench.ModelSpec]:
        for name, cls in globals().items():
            if not (isinstance(cls, type) and issubclass(cls, Vae)) or cls is Vae:
                continue
            yield genbench.ModelSpec(
                name.lower(), "", f"{__name__}:{name}", "genbench_vae.settings:VaeSettings", similarity="mse"
            )
        yield genbench.ModelSpec("conditional", "", f"{__name__}:Conditional", similarity="mse")
        vaegan = "genbench_vaegan.settings:VaeGanPixelSettings"
        yield genbench.ModelSpec("hiding", "", f"{__name__}:Hiding", vaegan, similarity="mse", discriminator=True)
        yield genbench.ModelSpec("telling", "", "genbench_vaegan.model:VaeGan", vaegan, similarity="mse")
