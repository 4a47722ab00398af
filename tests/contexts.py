"""A small model that decodes latents to the very images that they are of, and a context to evaluate it in."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from genbench.config import RunConfig
from genbench.data.packed import PackedDataset
from genbench.errors import NotApplicable
from genbench.evaluate.context import EvaluationContext
from genbench.interfaces import Batch, Losses, Model, Posterior

CPU = torch.device("cpu")
SIZE, LATENT = 4, 16


class Untrained(Model):
    """A model that is as it is made."""

    def __init__(self) -> None:
        nn.Module.__init__(self)
        self.networks = nn.ModuleDict()

    def losses(self, batch: Batch) -> Losses:
        raise NotImplementedError


class Plain(Untrained):
    """Decodes a latent to the image that has its values, and encodes it back."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(LATENT, affine=False)

    def encode(self, batch: Batch) -> Posterior:
        mean = batch.images.flatten(1)
        return Posterior(mean, torch.full_like(mean, 5.0))

    def decode(self, latents: Tensor, attributes: Tensor | None = None) -> Tensor:
        return self.norm(latents).unflatten(1, (1, SIZE, SIZE))


class Generator(Plain):
    def encode(self, batch: Batch) -> Posterior:
        raise NotApplicable("no encoder")


class Diverged(Plain):
    def decode(self, latents: Tensor, attributes: Tensor | None = None) -> Tensor:
        return super().decode(latents) * float("nan")


class Noisy(Plain):
    def decode(self, latents: Tensor, attributes: Tensor | None = None) -> Tensor:
        return super().decode(latents) + torch.randn(len(latents), 1, SIZE, SIZE)


def dataset(count: int = 40) -> PackedDataset:
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (count, SIZE, SIZE, 1), dtype=np.uint8)
    splits = (np.arange(count) % 4 % 3).astype(np.uint8)
    attributes = generator.integers(0, 2, (count, 2), dtype=np.uint8)
    return PackedDataset("noise", SIZE, 1, "f" * 64, images, splits, attributes, ("a", "b"), (), ())


def config(seed: int = 0, size: int = SIZE, latent_size: int = LATENT, **settings: float) -> RunConfig:
    """Return as much of a configuration as evaluation needs; the settings are the model's."""
    return RunConfig.model_validate(
        {
            "model": {"name": "any", "settings": settings},
            "similarity": None,
            "dataset": {"name": "any", "size": size},
            "network": {"latent_size": latent_size},
            "training": {"images": 1},
            "evaluation": {},
            "seed": seed,
        }
    )


Build = Callable[..., EvaluationContext]


def building(cache: Path) -> Build:
    """Return what builds a context for a model on the data."""

    def build(
        model: Model | None = None, seed: int = 0, batch_size: int = 7, data: PackedDataset | None = None
    ) -> EvaluationContext:
        return EvaluationContext(model or Plain(), data or dataset(), config(seed), CPU, cache, batch_size)

    return build
