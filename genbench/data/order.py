"""Which images a batch holds, and which are mirrored: set by the seed alone, on whatever device."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt

from genbench.randomness import derive

Made = TypeVar("Made")
Indices = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Epoch:
    """One pass over the images: (N,) places in their order, and whether each is mirrored."""

    places: Indices
    mirrored: Flags


class Lately(Generic[Made]):
    """What was made of the last two epochs, since a batch may span them.

    Args:
        make: makes it of an epoch's number.
    """

    def __init__(self, make: Callable[[int], Made]) -> None:
        self._make = make
        self._made: dict[int, Made] = {}

    def get(self, number: int) -> Made:
        """Return what was made of an epoch, or make it and forget all but its neighbours."""
        if number not in self._made:
            self._made = {key: made for key, made in self._made.items() if abs(key - number) <= 1}
            self._made[number] = self._make(number)
        return self._made[number]


@dataclass(frozen=True)
class Order:
    """The endless stream of a run's images, epoch after epoch; any part of it can be had at once, from its position.

    Attributes:
        size: images in an epoch.
        seed: of the run.
        flip: whether each image is mirrored with probability one half.
    """

    size: int
    seed: int
    flip: bool

    @cached_property
    def epochs(self) -> Lately[Epoch]:
        """The epochs by number."""
        return Lately(self._draw)

    def parts(self, first: int, count: int) -> list[tuple[int, slice]]:
        """Return the epochs that positions [first, first + count) fall into, each with the part that is wanted."""
        parts = []
        while count:
            epoch, start = divmod(first, self.size)
            length = min(count, self.size - start)
            parts.append((epoch, slice(start, start + length)))
            first, count = first + length, count - length
        return parts

    def slice(self, first: int, count: int) -> Epoch:
        """Return positions [first, first + count)."""
        parts = [(self.epochs.get(number), part) for number, part in self.parts(first, count)]
        if len(parts) == 1:
            epoch, part = parts[0]
            return Epoch(epoch.places[part], epoch.mirrored[part])
        return Epoch(
            np.concatenate([epoch.places[part] for epoch, part in parts]),
            np.concatenate([epoch.mirrored[part] for epoch, part in parts]),
        )

    def _draw(self, number: int) -> Epoch:
        places = self._generator("order", number).permutation(self.size)
        if not self.flip:
            return Epoch(places, np.zeros(self.size, bool))
        return Epoch(places, self._generator("flip", number).random(self.size) < 0.5)

    def _generator(self, purpose: str, number: int) -> np.random.Generator:
        return np.random.Generator(np.random.Philox(key=derive(self.seed, purpose, number)))
