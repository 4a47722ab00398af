"""Which part of a batch this process has, where several train one run together."""

from dataclasses import dataclass

import torch
from torch import Tensor, distributed


@dataclass(frozen=True)
class Share:
    """One process's part of every batch: rows [rank·n, (rank + 1)·n) of `of`·n; the default is all of it.

    Attributes:
        rank: this process's number, from 0.
        of: how many processes train together.
        generator: draws the same numbers in all of them; None for torch's default one, where there is one process.
    """

    rank: int = 0
    of: int = 1
    generator: torch.Generator | None = None

    def noise(self, rows: int, size: int, device: torch.device) -> Tensor:
        """Draw this process's rows of what the whole batch gets from N(0, I), float32 (rows, size)."""
        whole = torch.randn(rows * self.of, size, device=device, generator=self.generator)
        return whole[self.rank * rows : (self.rank + 1) * rows]

    def mean(self, values: Tensor) -> Tensor:
        """Return the mean of all processes' values, detached; a decision that must be one takes it."""
        values = values.detach()
        if self.of > 1:
            values = values.clone()
            distributed.all_reduce(values)
            values /= self.of
        return values
