"""Which images a batch holds, and which are mirrored: set by the seed alone, on whatever device."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from genbench.randomness import derive

Indices = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Epoch:
    """One pass over the images: (N,) places in their order, and whether each is mirrored."""

    places: Indices
    mirrored: Flags


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
    _epochs: dict[int, Epoch] = field(default_factory=dict, init=False, repr=False, compare=False)

    def parts(self, first: int, count: int) -> list[tuple[int, slice]]:
        """Return the epochs that positions [first, first + count) fall into, each with the part that is wanted."""
        parts = []
        while count:
            epoch, start = divmod(first, self.size)
            length = min(count, self.size - start)
            parts.append((epoch, slice(start, start + length)))
            first, count = first + length, count - length
        return parts

    def epoch(self, number: int) -> Epoch:
        """Return an epoch; the last two are kept, since a batch may span them."""
        found = self._epochs.get(number)
        if found is None:
            for old in [key for key in self._epochs if abs(key - number) > 1]:
                self._epochs.pop(old, None)
            found = self._epochs[number] = self._draw(number)
        return found

    def slice(self, first: int, count: int) -> Epoch:
        """Return positions [first, first + count)."""
        parts = [(self.epoch(number), part) for number, part in self.parts(first, count)]
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
