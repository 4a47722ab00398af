"""Reference statistics: moments and features of real images, kept in the cache for the next run on the same data."""

import json
from collections.abc import Callable
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import TypeVar

import torch
from filelock import FileLock
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from genbench.data.packed import PackedDataset, Split
from genbench.evaluate.extractors import Extractor
from genbench.evaluate.moments import Moments
from genbench.loading import content_of
from genbench.store import write_atomic

Kept = TypeVar("Kept")

VERSION = 2
"""Raised whenever other moments come of the same images, if only by rounding."""

LIBRARIES = ("torch-fidelity", "torchvision")
"""What extractors may be built on, torch itself apart."""


def place(
    cache: Path, dataset: PackedDataset, split: Split, extractor: Extractor, device: torch.device, precision: str
) -> Path:
    """Return the file for the moments of a split; its name covers all that can move them."""
    facts = {
        "version": VERSION,
        "fingerprint": dataset.fingerprint,
        "size": dataset.size,
        "channels": dataset.channels,
        "split": split,
        "count": len(dataset.indices(split)),
        "extractor": extractor.name,
        "features": extractor.size,
        "weights": extractor.weights_hash,
        "facts": dict(extractor.facts),
        **content_of(extractor),
        "device": device.type,
        "precision": precision,
        "libraries": {"torch": str(torch.__version__)} | {name: version(name) for name in LIBRARIES},
    }
    return cache / "moments" / f"{sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:24]}.safetensors"


def obtain(path: Path, compute: Callable[[], Moments]) -> Moments:
    """Load moments from a file, else compute and keep them; of concurrent runs, one computes.

    A spoiled file is written anew.
    """
    return _obtain(path, _load, lambda: _keep(path, compute()))


def obtain_features(path: Path, limit: int | None, compute: Callable[[], Tensor]) -> Tensor:
    """Do with the features of the first images as `obtain` does with moments; `path` is that of their moments."""
    place = path.parent.with_name("features") / f"{path.stem}-{limit or 'all'}.safetensors"
    return _obtain(place, _load_features, lambda: _keep_features(place, compute()))


def _obtain(path: Path, read: Callable[[Path], Kept | None], compute_and_keep: Callable[[], Kept]) -> Kept:
    found = read(path)
    if found is None:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_suffix(".lock")):
            found = read(path)  # another process may have been first
            if found is None:
                found = compute_and_keep()
    return found


def _keep_features(path: Path, features: Tensor) -> Tensor:
    plain = features.contiguous()
    write_atomic(path, save({"features": plain}))
    return plain


def _load_features(path: Path) -> Tensor | None:
    try:
        return load(path.read_bytes())["features"]
    except (OSError, ValueError, KeyError, SafetensorError):
        return None


def _keep(path: Path, moments: Moments) -> Moments:
    tensors = {"count": torch.tensor(moments.count), "mean": moments.mean, "covariance": moments.covariance}
    write_atomic(path, save({name: value.contiguous() for name, value in tensors.items()}))
    return moments


def _load(path: Path) -> Moments | None:
    try:
        tensors: dict[str, Tensor] = load(path.read_bytes())
        return Moments(int(tensors["count"].item()), tensors["mean"], tensors["covariance"])
    except (OSError, ValueError, KeyError, SafetensorError):
        return None
