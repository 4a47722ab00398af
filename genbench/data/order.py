"""Which images a batch holds, which are mirrored, and how they are changed: by the seed alone, on whatever device."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt

from genbench.data.augmentation import Changes, draw_changes
from genbench.randomness import derive

Made = TypeVar("Made")
Indices = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Epoch:
    """One pass over the images: (N,) places in their order, whether each is mirrored, and how it is changed, if at all.

    Attributes:
        changes: (N, 7), as `draw_changes` has them; None where images are shown as they are.
    """

    places: Indices
    mirrored: Flags
    changes: Changes | None = None

    def part(self, which: slice) -> "Epoch":
        """Return some of it."""
        changes = None if self.changes is None else self.changes[which]
        return Epoch(self.places[which], self.mirrored[which], changes)


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
        together: how many images that follow each other are mirrored together, from the first of all: 1, or those of a
            batch.
        changed: whether each image is changed a little.
    """

    size: int
    seed: int
    flip: bool
    together: int = 1
    changed: bool = False

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
        parts = [self.epochs.get(number).part(part) for number, part in self.parts(first, count)]
        if len(parts) == 1:
            return parts[0]
        changes = [part.changes for part in parts if part.changes is not None]
        return Epoch(
            np.concatenate([part.places for part in parts]),
            np.concatenate([part.mirrored for part in parts]),
            np.concatenate(changes) if changes else None,
        )

    def _draw(self, number: int) -> Epoch:
        places = self._generator("order", number).permutation(self.size)
        changes = draw_changes(self.size, self._generator("augmentation", number)) if self.changed else None
        return Epoch(places, self._flips(number), changes)

    def _flips(self, number: int) -> Flags:
        if not self.flip:
            return np.zeros(self.size, bool)
        if self.together == 1:
            return self._generator("flip", number).random(self.size) < 0.5
        # An epoch's first batch may have begun in the one before.
        groups = (number * self.size + np.arange(self.size)) // self.together
        coins = [derive(self.seed, "flip together", group) % 2 for group in range(groups[0], groups[-1] + 1)]
        flips: Flags = np.array(coins, bool)[groups - groups[0]]
        return flips

    def _generator(self, purpose: str, number: int) -> np.random.Generator:
        return np.random.Generator(np.random.Philox(key=derive(self.seed, purpose, number)))
