"""Feature extractors: networks with fixed weights that Fréchet distances and their kin are measured on."""

import io
import os
from collections.abc import Mapping
from hashlib import sha256
from http.client import HTTPException
from importlib.metadata import version
from pathlib import Path
from pickle import UnpicklingError
from typing import Protocol
from urllib.error import URLError
from urllib.request import urlopen

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from genbench.errors import GenbenchError, NotApplicable
from genbench.evaluate.chunks import Chunks
from genbench.evaluate.classifier import FEATURES, AttributeClassifier
from genbench.records import Scalar
from genbench.store import write_atomic

WEIGHTS_VARIABLE = "GENBENCH_INCEPTION"
INCEPTION_URL = (
    "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/weights-inception-2015-12-05-6726825d.pth"
)
INCEPTION_FILE = INCEPTION_URL.rpartition("/")[2]
INCEPTION_SHA256 = "6726825d"
"""How the hash of the published file begins, as its name says."""

INCEPTION_SIDE = 299
"""In pixels, of the images that the network is made for."""

CONNECT_S = 10.0
"""How long a server may stay silent, in seconds, before the download is given up."""


class Extractor(Protocol):
    """A network that turns images into features.

    Attributes:
        name: `inception` or `attributes`.
        size: of a feature vector.
        weights_hash: SHA-256 of the weights.
        facts: what else of it can move a number, for protocols.
    """

    @property
    def name(self) -> str: ...
    @property
    def size(self) -> int: ...
    @property
    def weights_hash(self) -> str: ...
    @property
    def facts(self) -> Mapping[str, Scalar]: ...

    def __call__(self, images: Tensor) -> Tensor:
        """Return features (N, size) float32 of uint8 images (N, C, H, W)."""
        ...


class Inception:
    """Inception-v3 of 2015-12-05, pool3 features, as torch-fidelity ports it from TensorFlow (Heusel et al. 2017).

    The features are torch-fidelity's but for rounding, computed with less work: batch-norms are folded into the
    convolutions before them, and the images are resized by two products of matrices.
    """

    name = "inception"
    size = 2048

    def __init__(self, network: nn.Module, weights_hash: str, device: torch.device) -> None:
        self.weights_hash = weights_hash
        self._chunks = Chunks.on(device, cpu=8, gpu=64)
        self._network = _folded(network).to(device).to(memory_format=self._chunks.layout)
        self._resizing: dict[int, Tensor] = {}

    @property
    def facts(self) -> Mapping[str, Scalar]:
        return {
            "extractor_library": f"torch-fidelity {version('torch-fidelity')}",
            "resize": "299 px, bilinear as in TensorFlow 1, inside the extractor",
            "grey_images": "repeated to three channels",
        }

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        return self._chunks.apply(self._features, images)

    def _features(self, images: Tensor) -> Tensor:
        rows, columns = (self._resize(side, images.device) for side in images.shape[2:])
        # 128 is subtracted before resizing, where it is exact.
        resized = rows @ (images.float() - 128) @ (columns.T / 128)
        colour = resized.expand(-1, 3, -1, -1).contiguous(memory_format=self._chunks.layout)
        features: Tensor = self._network(colour)
        return features.flatten(1)

    def _resize(self, side: int, device: torch.device) -> Tensor:
        if side not in self._resizing:
            self._resizing[side] = tensorflow_resize(side, INCEPTION_SIDE).to(device)
        return self._resizing[side]

    @classmethod
    def load(cls, weights: Path, device: torch.device) -> "Inception":
        """Load the network with the weights of a file in torch-fidelity's format.

        Raises:
            GenbenchError: the file can't be read, or holds something else.
        """
        # torch-fidelity unpickles the file it is given with full powers, so it gets a copy that was written here.
        from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

        content = _read(weights)
        safe = io.BytesIO()
        try:
            torch.save(torch.load(io.BytesIO(content), weights_only=True, map_location="cpu"), safe)
            safe.seek(0)
            network = FeatureExtractorInceptionV3(cls.name, ["2048"], feature_extractor_weights_path=safe)
        except (UnpicklingError, RuntimeError, TypeError, AttributeError, EOFError, ValueError) as error:
            first = (str(error).splitlines() or [""])[0]
            message = f"{weights}: not Inception weights in torch-fidelity's format: {type(error).__name__}: {first}"
            raise GenbenchError(message, f"expected is the file from {INCEPTION_URL}") from error
        return cls(network, sha256(content).hexdigest(), device)


def tensorflow_resize(old: int, new: int) -> Tensor:
    """Return the matrix (new, old) that resizes a row of pixels bilinearly as TensorFlow 1 does.

    The k-th new pixel lies at k·old/new, not at pixels' centres, and what would lie beyond the last repeats it
    (`tensorflow/core/kernels/resize_bilinear_op.cc`, `align_corners` and `half_pixel_centers` false).
    """
    place = torch.arange(new, dtype=torch.float32) * torch.tensor(old / new, dtype=torch.float32)
    left = place.long().clamp(max=old - 1)
    right = (left + 1).clamp(max=old - 1)
    share = (place - left)[:, None]
    pixels = torch.eye(old)
    return pixels[left] * (1 - share) + pixels[right] * share


def _folded(network: nn.Module) -> nn.Sequential:
    """Return the layers up to pool3, each batch-norm folded into the convolution before it; spoils the network."""
    from torch_fidelity.feature_extractor_inceptionv3 import BasicConv2d

    for part in network.modules():
        if isinstance(part, BasicConv2d):
            part.conv = fuse_conv_bn_eval(part.conv, part.bn)
            part.bn = nn.Identity()
    *layers, _logits = network.children()  # in the order in which torch-fidelity applies them
    return nn.Sequential(*layers)


class AttributeFeatures:
    """The layer of the attribute classifier before its logits."""

    name = "attributes"
    size = FEATURES

    def __init__(self, classifier: AttributeClassifier) -> None:
        self.classifier = classifier
        self.weights_hash = classifier.weights_hash

    @property
    def facts(self) -> Mapping[str, Scalar]:
        return self.classifier.facts

    def __call__(self, images: Tensor) -> Tensor:
        return self.classifier.features(images)


def inception_weights(setting: str = "") -> Path:
    """Find the weights: `setting`, else the variable GENBENCH_INCEPTION, else torch's hub cache, else download them.

    Raises:
        GenbenchError: a file that the user named is not there.
        NotApplicable: they are nowhere and can't be downloaded; says where to put them.
    """
    for origin, name in (("setting `weights`", setting), (WEIGHTS_VARIABLE, os.environ.get(WEIGHTS_VARIABLE, ""))):
        if name:
            path = Path(name).expanduser()
            if not path.is_file():
                raise GenbenchError(f"{origin}: no file at {path}", f"expected is the file from {INCEPTION_URL}")
            return path
    cached = Path(torch.hub.get_dir()) / "checkpoints" / INCEPTION_FILE
    if not cached.is_file():
        _download(cached)
    return cached


def _download(target: Path) -> None:
    try:
        with urlopen(INCEPTION_URL, timeout=CONNECT_S) as source:
            content = source.read()
    except (URLError, OSError, HTTPException) as error:
        raise _missing(target, str(getattr(error, "reason", None) or error)) from error
    found = sha256(content).hexdigest()
    if not found.startswith(INCEPTION_SHA256):
        raise _missing(target, f"what came has SHA-256 {found[:8]}…, expected {INCEPTION_SHA256}…")
    write_atomic(target, content)


def _missing(target: Path, reason: str) -> NotApplicable:
    return NotApplicable(
        f"Inception's weights are not here and can't be downloaded ({reason})",
        f"put the file from {INCEPTION_URL} at {target}, or name its place in {WEIGHTS_VARIABLE}",
    )


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise GenbenchError(f"cannot read {path}: {error.strerror or error}") from error
