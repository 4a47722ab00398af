"""A similarity on trial: how it is built, what it is shown, and how its value and gradient are taken."""

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from genbench.config import SMALLEST, NetworkConfig
from genbench.errors import NotApplicable
from genbench.interfaces import Similarity, View
from genbench.networks import Blueprint, Discriminator
from genbench.pairing import single
from genbench.resolution import Values, build_part, build_settings, by_section
from genbench.specs import SimilaritySpec
from genbench.testing.interface import CheckFailed, Subject
from genbench.testing.offline import REFUSAL, offline
from genbench.testing.pictures import dead_leaves, reconstruction

SIDE = 32
"""Of most test pictures in pixels, unless the similarity needs larger ones."""

ROUNDING = 1e-4
"""Of values in float32, in shares of the largest difference that is looked at."""

DIFFERENTIABLE = "compute the value from `fake.images` by torch's differentiable operations, and detach none of them"


@dataclass(frozen=True)
class SimilaritySubject(Subject):
    """A similarity, with views of test pictures as it says that it needs them."""

    @property
    def spec(self) -> SimilaritySpec:
        return single(self.plugins, self.name)

    @property
    def values(self) -> Values:
        """Return the settings that are given."""
        return by_section(self.settings)["similarity"]

    def check_settings(self) -> None:
        build_settings(self.plugins, self.spec, self.values)

    def build(self) -> Similarity:
        try:
            with offline():
                part = build_part(self.plugins, self.spec, self.values)
        except OSError as error:
            if REFUSAL not in str(error):
                raise
            told = f"it downloads something, and {REFUSAL}"
            raise NotApplicable(told, f"`genbench score {self.name}` downloads it") from error
        if not isinstance(part, Similarity):
            raise CheckFailed(
                f"`{self.spec.target}` gives a {type(part).__name__}, expected a genbench Similarity",
                "subclass `genbench.interfaces.Similarity`",
            )
        return part

    def pictures(self, count: int, seed: int = 0, side: int = SIDE) -> Tensor:
        """Return pictures (count, C, H, W) float32 that are large enough, with as many channels as it takes."""
        needs = self.spec.needs
        return dead_leaves(count, needs.channels or 3, max(side, needs.min_size), seed).float()

    def pair(self, count: int, seed: int = 0) -> tuple[Tensor, Tensor]:
        """Return pictures and what a model might make of them, both float32."""
        real = self.pictures(count, seed)
        return real, reconstruction(real, seed)

    def view(self, images: Tensor) -> View:
        """Return images as the similarity sees them: with a discriminator's features where it needs them.

        The discriminator is always the same, of random weights, and looks at each image by itself.
        """
        if not self.spec.needs.discriminator:
            return View(images)
        discriminator = _discriminator(images.shape[1], images.shape[2], images.dtype, images.device)
        return View(images, discriminator(images).features)

    def measure(self, similarity: Similarity, real: Tensor, fake: Tensor) -> Tensor:
        """Return what it says of each pair, (N,).

        Raises:
            CheckFailed: that is of another shape.
        """
        value: object = similarity(self.view(real), self.view(fake))
        return numbers(value, len(real))

    def slope(self, similarity: Similarity, real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
        """Return its values (N,) and the gradient of their sum in the fake images.

        Raises:
            CheckFailed: there is no gradient.
        """
        fake = fake.detach().clone().requires_grad_()
        value = self.measure(similarity, real, fake)
        if not value.requires_grad:
            raise CheckFailed("its value has no gradient: it hangs on nothing that has one", DIFFERENTIABLE)
        (gradient,) = torch.autograd.grad(value.sum(), fake, allow_unused=True)
        if gradient is None:
            raise CheckFailed("its value has no gradient in the fake images", DIFFERENTIABLE)
        return value.detach(), gradient


@lru_cache(maxsize=32)
@torch.inference_mode(mode=False)
def _discriminator(channels: int, size: int, dtype: torch.dtype, device: torch.device) -> Discriminator:
    """Return a discriminator that no training moves; building it takes longer than using it."""
    network = NetworkConfig(width=0.1, kind="conv" if size >= SMALLEST else "mlp")
    discriminator = Blueprint(channels, size, network, images=1, seed=0).discriminator()
    return discriminator.to(device, dtype).eval().requires_grad_(False)


def numbers(value: object, count: int) -> Tensor:
    """Return what a similarity gave if that is one number for each of `count` images, else raise CheckFailed."""
    if not isinstance(value, Tensor):
        raise CheckFailed(f"it gives a {type(value).__name__}, expected a tensor", "return a tensor of shape (N,)")
    if value.shape != (count,):
        shape = ", ".join("N" if place == 0 and size == count else str(size) for place, size in enumerate(value.shape))
        raise CheckFailed(
            f"its value has the shape ({shape}) for N images, expected (N,)",
            "reduce each image by itself, such as by `.flatten(1).sum(1)`",
        )
    return value


def off(value: Tensor, truth: Tensor) -> float:
    """Return the largest difference in shares of the largest entry of the truth."""
    difference = (value.detach().cpu().double() - truth.detach().cpu().double()).abs().max()
    return float(difference / truth.detach().abs().max().cpu().double().clamp(min=torch.finfo(torch.float64).tiny))


def which(images: Tensor) -> str:
    """Name the images of a batch for which something holds, (N,) bool, in words: `image 0`, `3 of 4 images`."""
    places = images.nonzero().flatten().tolist()
    return f"image {places[0]}" if len(places) == 1 else f"{len(places)} of {len(images)} images"
