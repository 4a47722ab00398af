"""Features of sets of images, and their moments: one pass for all metrics, and for real images one for all runs."""

from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from genbench.data.packed import PackedDataset
from genbench.evaluate import reference
from genbench.evaluate.extractors import Extractor
from genbench.evaluate.moments import Moments, measure
from genbench.evaluate.subjects import Real, Subject

FEATURE_BYTES = 2**29
"""Features of generated images are kept for the next metric while they fit in so much memory, all subjects together."""

PRECISION = "float32"


@dataclass
class _Head:
    """The features of a subject's first images, on the CPU; `whole` where that is all of them."""

    rows: list[Tensor] = field(default_factory=list)
    count: int = 0
    whole: bool = False

    def suffices(self, limit: int | None) -> bool:
        return self.whole or (limit is not None and limit <= self.count)


class Measuring:
    """Measures a run's images with extractors.

    Args:
        dataset: of the run.
        device: where features are computed.
        cache: folder where those of real images are kept.
        images: returns a subject's images, uint8 (N, C, H, W), batch by batch.
    """

    def __init__(
        self, dataset: PackedDataset, device: torch.device, cache: Path, images: Callable[[Subject], Iterator[Tensor]]
    ) -> None:
        self._dataset = dataset
        self._device = device
        self._cache = cache
        self._images = images
        self._moments: dict[Hashable, Moments] = {}
        self._heads: dict[Hashable, _Head] = {}
        self._room = FEATURE_BYTES

    def moments(self, extractor: Extractor, subject: Subject) -> Moments:
        """Return the moments of the features of all of a subject's images."""
        key = _key(extractor, subject)
        if key not in self._moments:
            if isinstance(subject, Real):
                path = self._place(extractor, subject)
                found = reference.obtain(path, lambda: measure(map(extractor, self._images(subject))))
            else:
                found = measure(self._keeping(key, extractor, subject))
            self._moments[key] = found
        return self._moments[key]

    def features(self, extractor: Extractor, subject: Subject, limit: int | None) -> Tensor:
        """Return the features (N, F), float32 on the CPU, of a subject's first images."""
        if isinstance(subject, Real):
            path = self._place(extractor, subject)
            return reference.obtain_features(path, limit, lambda: _first(map(extractor, self._images(subject)), limit))
        key = _key(extractor, subject)
        head = self._heads.get(key, _Head())
        rows = head.rows if head.suffices(limit) else self._keeping(key, extractor, subject)
        return _first(iter(rows), limit)

    def _place(self, extractor: Extractor, subject: Real) -> Path:
        return reference.place(self._cache, self._dataset, subject.split, extractor, self._device, PRECISION)

    def _keeping(self, key: Hashable, extractor: Extractor, subject: Subject) -> Iterator[Tensor]:
        """Yield features, and keep the first while there is room."""
        dropped = self._heads.pop(key, _Head())
        self._room += sum(rows.nbytes for rows in dropped.rows)
        head = self._heads[key] = _Head()
        full = False
        for images in self._images(subject):
            features = extractor(images)
            full = full or features.nbytes > self._room
            if not full:
                kept = features.detach().float().cpu()
                head.rows.append(kept)
                head.count += len(kept)
                self._room -= kept.nbytes
            yield features
        head.whole = not full


def _first(batches: Iterator[Tensor], limit: int | None) -> Tensor:
    """Return the first rows of batches, float32 on the CPU, reading no further than that."""
    rows: list[Tensor] = []
    count = 0
    for batch in batches:
        rows.append(batch.detach().float().cpu())
        count += len(batch)
        if limit is not None and count >= limit:
            break
    return torch.cat(rows)[:limit]


def _key(extractor: Extractor, subject: Subject) -> Hashable:
    return extractor.name, extractor.weights_hash, *sorted(extractor.facts.items()), subject
