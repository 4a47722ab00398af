"""Training batches: uint8 images, gathered, scaled, flipped and changed on the device, which never waits for them.

Where the data set fits on a GPU it lies there (`Resident`). Else, and on a CPU, its images are gathered from the mapped
file (`Streamed`), for a GPU by a thread ahead of time, through pinned memory and a stream of its own.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from genbench.config import RunConfig, TrainingConfig
from genbench.data.augmentation import change
from genbench.data.fetching import Fetcher, Staged
from genbench.data.order import Epoch, Lately, Order
from genbench.data.packed import PackedDataset
from genbench.images import to_float
from genbench.interfaces import Batch
from genbench.train.sharing import Share

AHEAD = 2
"""Batches that are fetched before they are asked for."""
ROOM = 0.5
"""Part of a GPU's free memory that the images may take; the rest is the step's."""


@dataclass(frozen=True)
class Batches(ABC):
    """The endless stream of a run's training batches; any of them can be drawn at once, from its position alone.

    A batch is drawn in two parts: `stage` puts what tells it from others on the device, `assemble` makes the batch
    of it there, without the host, so that it can be captured in a CUDA graph.

    Attributes:
        order: of the images.
        batch_size: images a batch over all processes; the last of an epoch is filled from the next.
        share: of each batch that is this process's.
    """

    order: Order
    batch_size: int
    share: Share

    @abstractmethod
    def stage(self, images_seen: int) -> Staged:
        """Return tensors on the device, of the same shapes for every batch."""

    @abstractmethod
    def assemble(self, staged: Staged, images_seen: int) -> Batch:
        """Make the batch of what was staged."""

    def draw(self, images_seen: int) -> Batch:
        """Return the batch that follows after so many images."""
        return self.assemble(self.stage(images_seen), images_seen)

    def _own(self, images_seen: int) -> tuple[int, int]:
        """Return the first position and the number of this process's part."""
        count = self.batch_size // self.share.of
        return images_seen + self.share.rank * count, count

    def _finish(self, images: Tensor, attributes: Tensor | None, drawn: Staged, images_seen: int) -> Batch:
        """Scale, flip and change uint8 images (B, H, W, C).

        Args:
            drawn: which are mirrored, and how they are changed where they are.
        """
        mirrored, *changes = drawn
        scaled = to_float(images.permute(0, 3, 1, 2))
        if self.order.flip:
            scaled = torch.where(mirrored[:, None, None, None], scaled.flip(3), scaled)
        for changed in changes:
            scaled = change(scaled, changed)
        channels_last = scaled.contiguous(memory_format=torch.channels_last)
        return Batch(channels_last, None if attributes is None else attributes.float(), images_seen, self.share)


@dataclass(frozen=True)
class Resident(Batches):
    """All training images on the device; staged are their places.

    Attributes:
        images: (N, H, W, C) uint8.
        attributes: (N, A) uint8 in {0, 1}, or None.
    """

    images: Tensor
    attributes: Tensor | None

    @cached_property
    def _epochs(self) -> Lately[Staged]:
        return Lately(self._send_epoch)

    def stage(self, images_seen: int) -> Staged:
        parts = [
            tuple(tensor[part] for tensor in self._epochs.get(number))
            for number, part in self.order.parts(*self._own(images_seen))
        ]
        return parts[0] if len(parts) == 1 else tuple(map(torch.cat, zip(*parts, strict=True)))

    def assemble(self, staged: Staged, images_seen: int) -> Batch:
        places, *drawn = staged
        attributes = None if self.attributes is None else self.attributes[places]
        return self._finish(self.images[places], attributes, tuple(drawn), images_seen)

    def _send_epoch(self, number: int) -> Staged:
        epoch = self.order.epochs.get(number)
        return tuple(map(self._send, (epoch.places, *_drawn(epoch))))

    def _send(self, array: npt.NDArray[np.generic]) -> Tensor:
        """Copy an array to the device without waiting for what that is doing."""
        tensor = torch.from_numpy(array)
        if self.images.device.type == "cuda":
            tensor = tensor.pin_memory()
        return tensor.to(self.images.device, non_blocking=True)


@dataclass(frozen=True)
class Streamed(Batches):
    """Training images in the mapped file; staged are the images themselves.

    Attributes:
        images: (M, H, W, C) uint8 of all splits.
        attributes: (M, A) uint8 in {0, 1} of all splits, or None.
        train: (N,) places of the training images.
        device: where the batches go.
    """

    images: npt.NDArray[np.uint8]
    attributes: npt.NDArray[np.uint8] | None
    train: npt.NDArray[np.int64]
    device: torch.device

    @cached_property
    def _fetcher(self) -> Fetcher:
        return Fetcher(self._gather, self.device)

    def stage(self, images_seen: int) -> Staged:
        # A CPU has no time of its own to gain by fetching ahead.
        return self._gather(images_seen) if self.device.type == "cpu" else self._fetch(images_seen)

    def _fetch(self, images_seen: int) -> Staged:
        following = [images_seen + i * self.batch_size for i in range(1, AHEAD + 1)]
        return self._fetcher.fetch(images_seen, following)

    def assemble(self, staged: Staged, images_seen: int) -> Batch:
        if self.attributes is None:
            images, *drawn = staged
            return self._finish(images, None, tuple(drawn), images_seen)
        images, attributes, *drawn = staged
        return self._finish(images, attributes, tuple(drawn), images_seen)

    def _gather(self, images_seen: int) -> Staged:
        """Return this process's part of a batch, on the CPU."""
        wanted = self.order.slice(*self._own(images_seen))
        places = self.train[wanted.places]
        labels = () if self.attributes is None else (self.attributes[places],)
        return tuple(map(torch.from_numpy, (self.images[places], *labels, *_drawn(wanted))))


def _drawn(epoch: Epoch) -> tuple[npt.NDArray[np.generic], ...]:
    """Return what `Batches._finish` needs to know beside the images."""
    return (epoch.mirrored,) if epoch.changes is None else (epoch.mirrored, epoch.changes)


def order_of(count: int, training: TrainingConfig, seed: int) -> Order:
    """Return the order in which a run sees so many training images."""
    together = training.batch_size if training.flip_whole_batches else 1
    return Order(count, seed, training.flip, together, training.augmentation == "larsen2016")


def load_batches(
    data: PackedDataset, config: RunConfig, device: torch.device, share: Share, free_bytes: int | None = None
) -> Batches:
    """Return a run's training batches: on the device where they fit.

    Args:
        free_bytes: of the device's memory; None asks it.
    """
    train = data.indices("train")
    order = order_of(len(train), config.training, config.seed)
    if device.type == "cuda" and free_bytes is None:
        free_bytes = torch.cuda.mem_get_info(device)[0]
    size = len(train) * data.images[0].nbytes
    if device.type == "cpu" or (free_bytes is not None and size > ROOM * free_bytes):
        return Streamed(order, config.training.batch_size, share, data.images, data.attributes, train, device)
    attributes = None if data.attributes is None else torch.from_numpy(data.attributes[train]).to(device)
    images = torch.from_numpy(data.images[train]).to(device)
    return Resident(order, config.training.batch_size, share, images, attributes)
