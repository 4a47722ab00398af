"""Reference statistics: moments of real images, kept in the cache for the next run on the same data."""

import json
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from genbench.data.packed import PackedDataset
from genbench.evaluate.extractors import Extractor
from genbench.evaluate.moments import Moments
from genbench.store import write_atomic

VERSION = 1
"""Raised whenever other moments come of the same images."""


def place(cache: Path, dataset: PackedDataset, split: str, extractor: Extractor, device: torch.device) -> Path:
    """Return the file for the moments of a split; its name covers all that can move them."""
    images = [dataset.fingerprint, dataset.size, dataset.channels, split]
    facts = [VERSION, *images, extractor.name, extractor.weights_hash, dict(extractor.facts), device.type]
    return cache / "moments" / f"{sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:24]}.safetensors"


def obtain(path: Path, compute: Callable[[], Moments]) -> Moments:
    """Load moments from a file, else compute and keep them; a spoiled file is written anew."""
    found = _load(path)
    if found is None:
        found = compute()
        tensors = {"count": torch.tensor(found.count), "mean": found.mean, "covariance": found.covariance}
        write_atomic(path, save({name: value.contiguous() for name, value in tensors.items()}))
    return found


def _load(path: Path) -> Moments | None:
    try:
        tensors: dict[str, Tensor] = load(path.read_bytes())
        return Moments(int(tensors["count"].item()), tensors["mean"], tensors["covariance"])
    except (OSError, ValueError, KeyError, SafetensorError):
        return None
