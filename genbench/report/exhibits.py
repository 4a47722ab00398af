"""What all runs on one data set are shown on: the same test images, faces and attributes, whichever run is looked at.

They are chosen by the data alone, so that no model has a say in what it is judged by.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from genbench.data.packed import PackedDataset
from genbench.evaluate.editing import mean_differences, one_sided

WIDTH, FEWEST, MOST = 512, 8, 16
"""Of a row of test images in pixels, as nearly as so many stand beside each other."""
FACES, ATTRIBUTES = 4, 6
ENCODED = 5_000
"""Training images that attribute vectors come from, and test images that latent units are looked at on, at most."""
SMALL = 16
"""Pixels a side at which is measured what an attribute shows."""
SHARE = 0.01
"""Of the training images that have an attribute, and that lack it, for it to be chosen."""

Places = npt.NDArray[np.int64]
_BATCH = 512


@dataclass(frozen=True)
class Exhibits:
    """What runs are shown on; places are those in the data set.

    Attributes:
        test: (N,) of the first test images, to be reconstructed; the first `FACES` of them are edited.
        looked_at: (L,) of the first test images, whose latent units are looked at.
        training: (M,) of training images, spread evenly, that attribute vectors come from.
        attributes: K names.
        labels: (M, K) float64 in {0, 1}: which of the training images have them.
        asked: whether a person named them.
        lacking: of those named, why they are not edited.
    """

    test: Places
    looked_at: Places
    training: Places
    attributes: tuple[str, ...]
    labels: Tensor
    asked: bool = False
    lacking: Mapping[str, str] = field(default_factory=dict)

    @property
    def faces(self) -> Places:
        """Return the places of the images that are edited."""
        return self.test[:FACES]


def choose_exhibits(data: PackedDataset, asked: Sequence[str]) -> Exhibits:
    """Choose what the runs on a data set are shown on.

    Args:
        asked: names of attributes to edit, in order; none: those that show most.
    """
    every = data.indices("test")
    test, looked_at = every[: row_length(data.size)], every[:ENCODED]
    training = spread(data.indices("train"), ENCODED)
    if data.attributes is None or not len(training):
        return Exhibits(
            test, looked_at, training, (), torch.zeros(len(training), 0), bool(asked), _without(data, asked, {})
        )
    labels = torch.from_numpy(data.attributes[training]).double()  # (M, A)
    lacking = _without(data, asked, one_sided(labels, data.attribute_names))
    if asked:
        columns = [data.attribute_names.index(name) for name in dict.fromkeys(asked) if name not in lacking]
    else:
        columns = telling(_small(data, training), labels, ATTRIBUTES)
    names = tuple(data.attribute_names[column] for column in columns)
    return Exhibits(test, looked_at, training, names, labels[:, columns], bool(asked), lacking)


def row_length(size: int) -> int:
    """Return how many images of a side stand beside each other."""
    return min(max(WIDTH // size, FEWEST), MOST)


def spread(places: Places, most: int) -> Places:
    """Return so many places at most, spread evenly: neighbours may be alike, as where classes follow each other."""
    if len(places) <= most:
        return places
    return places[np.linspace(0, len(places) - 1, most).round().astype(np.int64)]


def telling(images: Tensor, labels: Tensor, count: int) -> list[int]:
    """Return the columns of the attributes that show most, each beside those before it.

    What an attribute shows is the squared difference in pixels between the mean images with it and without it, as far
    as it is orthogonal to the differences of those chosen before, less what chance alone gives so few images:
    tr Σ·(1/n₁ + 1/n₀) for an attribute that shows nothing.

    Args:
        images: (N, D) float64.
        labels: (N, A) in {0, 1}, float64, of all attributes.
    """
    having = labels.sum(0)
    fewest = torch.minimum(having, len(labels) - having)
    allowed = fewest >= SHARE * len(labels)
    if not allowed.any():
        allowed = fewest > 0
    differences = mean_differences(images, labels)
    chance = images.var(0, correction=0).sum() * (1 / having.clamp(min=1) + 1 / (len(labels) - having).clamp(min=1))
    chosen: list[int] = []
    while len(chosen) < count and allowed.any():
        shown = torch.where(allowed, differences.square().sum(1) - chance, -torch.inf)
        best = int(shown.argmax())
        chosen.append(best)
        allowed[best] = False
        direction = differences[best] / differences[best].norm().clamp(min=1e-12)
        differences = differences - (differences @ direction)[:, None] * direction
    return chosen


def images_at(data: PackedDataset, places: Places) -> Tensor:
    """Return images, uint8 (n, C, H, W), on the CPU."""
    return torch.from_numpy(data.images[places]).permute(0, 3, 1, 2).contiguous()


def batches_at(data: PackedDataset, places: Places) -> Iterator[Tensor]:
    """Yield images as `images_at` does, some at a time."""
    for start in range(0, len(places), _BATCH):
        yield images_at(data, places[start : start + _BATCH])


def _small(data: PackedDataset, places: Places) -> Tensor:
    """Return images averaged to a few pixels a side, (n, D) float64."""
    side = min(SMALL, data.size)
    return torch.cat([adaptive_avg_pool2d(batch.double(), side).flatten(1) for batch in batches_at(data, places)])


def _without(data: PackedDataset, asked: Sequence[str], unusable: Mapping[str, str]) -> dict[str, str]:
    """Return the attributes, of those asked for, that can't be edited, each with the reason."""
    unknown = {name: f"{data.name} has no such attribute" for name in asked if name not in data.attribute_names}
    return unknown | {name: unusable[name] for name in asked if name in unusable}
