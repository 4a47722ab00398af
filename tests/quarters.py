"""Images of four flat quarters, each as bright as a latent says, and a linear model that knows it."""

import numpy as np
import numpy.typing as npt
import torch
from contexts import Untrained
from torch import Tensor, nn

from genbench.data.packed import PackedDataset
from genbench.errors import NotApplicable
from genbench.interfaces import Batch, Posterior

SIZE, LATENT = 8, 4
NAMES = ("top-left", "top-right", "bottom-left")
"""Attributes; the fourth quarter belongs to none."""


class Quarters(Untrained):
    """z_k is four times the brightness of quarter k, and is drawn `contrast` times as bright."""

    def __init__(self, contrast: float = 1.0, log_variance: float = -3.0, size: int = SIZE) -> None:
        super().__init__()
        self.contrast = contrast
        self.log_variance = log_variance
        self.size = size

    def encode(self, batch: Batch) -> Posterior:
        mean = nn.functional.avg_pool2d(batch.images, self.size // 2).flatten(1) * 4
        return Posterior(mean, torch.full_like(mean, self.log_variance))

    def decode(self, latents: Tensor, attributes: Tensor | None = None) -> Tensor:
        quarters = self.contrast * latents.unflatten(1, (1, 2, 2)) / 4
        return nn.functional.interpolate(quarters, scale_factor=self.size // 2).clamp(-1, 1)


class Generator(Quarters):
    def encode(self, batch: Batch) -> Posterior:
        raise NotApplicable("no encoder")


class Constant(Quarters):
    """Decodes whatever it is given to one grey image."""

    def decode(self, latents: Tensor, attributes: Tensor | None = None) -> Tensor:
        return torch.full((len(latents), 1, self.size, self.size), 0.25)


def drawn(latents: npt.NDArray[np.float64], size: int = SIZE) -> npt.NDArray[np.uint8]:
    """Return the images (N, size, size, 1) of latents (N, 4)."""
    pixels = np.round((latents / 4 + 1) * 127.5).clip(0, 255).astype(np.uint8).reshape(-1, 2, 2, 1)
    return pixels.repeat(size // 2, 1).repeat(size // 2, 2)


def quarters(count: int = 1000, test: int = 300, mixed: bool = False) -> PackedDataset:
    """Build images whose quarter k is brighter where they have attribute k; `mixed` test images have others' labels."""
    generator = np.random.default_rng(0)
    splits = np.repeat([0, 1, 2], [count - test - 100, 100, test]).astype(np.uint8)
    attributes = generator.integers(0, 2, (count, 3), dtype=np.uint8)
    latents = np.concatenate([attributes * 2.0 - 1, np.zeros((count, 1))], 1) + generator.normal(0, 0.4, (count, 4))
    if mixed:
        attributes[splits == 2] = generator.permutation(attributes[splits == 2])
    return PackedDataset("quarters", SIZE, 1, "quarters", drawn(latents), splits, attributes, NAMES, (), ())
