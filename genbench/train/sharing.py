"""Which part of a batch this process has, where several train one run together, and what they tell each other."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, distributed

from genbench.errors import GenbenchError, first_line
from genbench.randomness import derive

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup


class Abandoned(GenbenchError):
    """Another process has gone, so this one can't go on."""


@dataclass(frozen=True)
class Share:
    """One process's part of every batch: rows [rank·n, (rank + 1)·n) of `of`·n; the default is all of it.

    Whatever waits for the others must be reached by all of them, in the same order.

    Attributes:
        rank: this process's number, from 0.
        of: how many processes train together.
        generator: draws the same numbers in all of them, on the device that they train on; None for torch's default
            one, where there is one process.
        messages: the group by which hosts talk, without their devices; None where there is one process.
    """

    rank: int = 0
    of: int = 1
    generator: torch.Generator | None = None
    messages: "ProcessGroup | None" = None

    @property
    def leads(self) -> bool:
        """Whether this is the process that writes files, talks and evaluates."""
        return self.rank == 0

    def seed(self, seed: int, *purpose: str | int) -> None:
        """Seed all noise for one purpose: what `noise` draws alike in all processes, the default generator differently.

        The two differ in each process, too: a model may draw from both.
        """
        if self.generator is None:
            torch.manual_seed(derive(seed, *purpose))
        else:
            self.generator.manual_seed(derive(seed, *purpose))
            torch.manual_seed(derive(seed, *purpose, "process", self.rank))

    def noise(self, rows: int, size: int, device: torch.device) -> Tensor:
        """Draw this process's rows of what the whole batch gets from N(0, I), float32 (rows, size)."""
        whole = torch.randn(rows * self.of, size, device=device, generator=self.generator)
        return whole[self.rank * rows : (self.rank + 1) * rows]

    def sum(self, values: Tensor) -> Tensor:
        """Return the sum of all processes' values, detached; the same bits in all of them."""
        values = values.detach()
        if self.of > 1:
            values = values.clone(memory_format=torch.contiguous_format)
            # NCCL takes nothing that lies on a CPU.
            elsewhere = self.generator is not None and values.device.type != self.generator.device.type
            with together():
                distributed.all_reduce(values, group=self.messages if elsewhere else None)
        return values

    def mean(self, values: Tensor) -> Tensor:
        """Return the mean of all processes' values, detached; a decision that must be one takes it."""
        return self.sum(values) / self.of if self.of > 1 else values.detach()

    def any(self, *flags: bool) -> list[bool]:
        """Return for each flag whether it is set in any process. No host waits for its device."""
        if self.of == 1:
            return list(flags)
        told = torch.tensor(flags, dtype=torch.uint8)
        with together():
            distributed.all_reduce(told, distributed.ReduceOp.MAX, group=self.messages)
        return [bool(flag) for flag in told.tolist()]


@contextmanager
def together() -> Iterator[None]:
    """Turn the failure of what several processes do together into an error that says what it means."""
    try:
        yield
    except RuntimeError as error:
        reason = re.sub(r"^\[[^]]*\] ", "", first_line(error)).split(". ")[
            0
        ]  # gloo's has a source file before and advice after
        raise Abandoned(
            f"another process of this run has gone: {reason}",
            "why stands in its own output, or in torchrun's; the same command goes on from the last checkpoint",
            exit_code=1,
        ) from error
