"""This process's place among those that train one run together, as torchrun tells it. Imports no torch."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from time import sleep

from genbench.errors import GenbenchError

TELLING_S = 5.0
"""How long the silent processes leave the one that tells, in seconds; it ends them with it."""
NEEDED = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


@dataclass(frozen=True)
class Place:
    """The default is that of a process that trains alone.

    Attributes:
        rank: number among all processes, from 0.
        of: how many there are.
        local_rank: number among those of this machine.
        local_of: how many this machine has.
    """

    rank: int = 0
    of: int = 1
    local_rank: int = 0
    local_of: int = 1

    @staticmethod
    def given(environment: Mapping[str, str] = os.environ) -> "Place":
        """Read the variables that torchrun sets; where one is missing, the process is alone.

        Raises:
            GenbenchError: they make no sense.
        """
        if not all(environment.get(name) for name in NEEDED):
            return Place()
        names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
        told = {name: environment.get(name, default) for name, default in zip(names, "0101", strict=True)}
        try:
            place = Place(*map(int, told.values()))
        except ValueError:
            place = None
        if place is None or not (0 <= place.rank < place.of and 0 <= place.local_rank < place.local_of):
            raise GenbenchError(
                f"the environment names no process of several: {', '.join(f'{n}={v}' for n, v in told.items())}",
                "start the processes with torchrun, or unset RANK and WORLD_SIZE to train in one",
            )
        return place

    @contextmanager
    def one_voice(self) -> Iterator[None]:
        """Leave it to one process of each machine to tell an error that all of its processes run into."""
        try:
            yield
        except GenbenchError as error:
            if self.local_rank == 0:
                raise
            sleep(TELLING_S)  # torchrun ends all processes once one has failed: the one that tells must be the first
            raise SystemExit(error.exit_code) from error

    def check_batch(self, size: int) -> None:
        """Raise a GenbenchError where a batch can't be shared out evenly."""
        if size % self.of:
            near = max(1, round(size / self.of)) * self.of
            raise GenbenchError(
                f"a batch of {size} images can't be shared out evenly to {self.of} processes",
                f"--batch-size is that of all processes together: give a multiple of {self.of}, such as {near}",
            )
