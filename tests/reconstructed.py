"""As much of a context as scores of reconstructions need."""

from collections.abc import Iterator
from dataclasses import dataclass
from types import SimpleNamespace

import torch
from torch import Tensor


@dataclass
class Reconstructions:
    """Images and their reconstructions, (N, C, H, W) in [-1, 1]."""

    real: Tensor
    fake: Tensor
    batch_size: int = 5

    @property
    def dataset(self) -> SimpleNamespace:
        return SimpleNamespace(size=self.real.shape[-1], channels=self.real.shape[1])

    def protocol(self, **facts: object) -> dict[str, object]:
        return {"precision": "float32", **facts}

    def reconstructions(self, split: str) -> Iterator[tuple[Tensor, Tensor]]:
        assert split == "test"
        return zip(torch.split(self.real, self.batch_size), torch.split(self.fake, self.batch_size), strict=True)
