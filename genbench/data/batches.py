"""Training batches: uint8 images on the device, gathered, flipped and scaled there, in an order set by the seed."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from genbench.data.packed import PackedDataset
from genbench.images import to_float
from genbench.interfaces import Batch
from genbench.randomness import derive


@dataclass(frozen=True)
class Batches:
    """The endless stream of a run's training batches; any of them can be drawn at once, from its position alone.

    Attributes:
        images: (N, C, H, W) uint8 of the training split, channels last in memory, on the device.
        attributes: (N, A) float in {0, 1} on the device, or None.
        batch_size: images a batch; every one is full, the last of an epoch is filled from the next.
        seed: of the run.
        flip: whether each image is mirrored with probability one half.
    """

    images: Tensor
    attributes: Tensor | None
    batch_size: int
    seed: int
    flip: bool

    @classmethod
    def of(cls, data: PackedDataset, batch_size: int, seed: int, flip: bool, device: torch.device) -> "Batches":
        """Put the training split on the device."""
        train = data.indices("train")
        images = torch.from_numpy(data.images[train]).to(device).permute(0, 3, 1, 2)
        attributes = None
        if data.attributes is not None:
            attributes = torch.from_numpy(data.attributes[train]).to(device, torch.float32)
        return cls(images, attributes, batch_size, seed, flip)

    def draw(self, images_seen: int) -> Batch:
        """Return the batch that follows after so many images."""
        device = self.images.device
        indices = torch.from_numpy(self._indices(images_seen)).to(device)
        images = to_float(self.images[indices])
        if self.flip:
            generator = torch.Generator().manual_seed(derive(self.seed, "flip", images_seen))
            mirrored = (torch.rand(len(indices), generator=generator) < 0.5).to(device)
            images = torch.where(mirrored[:, None, None, None], images.flip(3), images)
        return Batch(
            images.contiguous(memory_format=torch.channels_last),
            None if self.attributes is None else self.attributes[indices],
            images_seen,
        )

    def _indices(self, images_seen: int) -> npt.NDArray[np.int64]:
        """Return the positions [images_seen, images_seen + batch_size) of the epochs' permutations laid end to end."""
        size = len(self.images)
        first, last = images_seen // size, (images_seen + self.batch_size - 1) // size
        epochs = np.concatenate([self._epoch(epoch) for epoch in range(first, last + 1)])
        start = images_seen - first * size
        return epochs[start : start + self.batch_size]

    def _epoch(self, epoch: int) -> npt.NDArray[np.int64]:
        bits = np.random.Philox(key=derive(self.seed, "order", epoch))
        return np.random.Generator(bits).permutation(len(self.images))
