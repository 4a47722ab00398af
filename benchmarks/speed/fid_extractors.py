"""The extractors that `fid.py` compares on: the same network with the same weights, for torch-fidelity and genbench."""

from collections.abc import Callable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch_fidelity.feature_extractor_base import FeatureExtractorBase
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
from torch_fidelity.registry import FEATURE_EXTRACTORS_REGISTRY, register_feature_extractor
from torchvision.models import squeezenet1_0

from genbench.evaluate.chunks import Chunks
from genbench.evaluate.extractors import Extractor, Inception

SQUEEZENET = "squeezenet1_0"
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of ImageNet's colours, as torchvision's weights expect them."""


def in_memory(images: Tensor) -> torch.utils.data.Dataset[Tensor]:
    """Return images, uint8 (N, 3, H, W), as torch-fidelity takes them."""
    return torch.utils.data.Subset(images, range(len(images)))  # type: ignore[arg-type]


class Pair(Protocol):
    """One extractor, for both sides."""

    def ours(self, device: torch.device) -> Extractor:
        """Load it for genbench."""
        ...

    def theirs(self) -> Mapping[str, Any]:
        """Return the arguments that name it to torch-fidelity, which then loads it."""
        ...


class InceptionPair:
    """Inception-v3, from a file in torch-fidelity's format."""

    def __init__(self, weights: Path | None, folder: Path) -> None:
        self.weights = weights or random_inception(folder)

    def ours(self, device: torch.device) -> Extractor:
        return Inception.load(self.weights, device)

    def theirs(self) -> Mapping[str, Any]:
        return {"feature_extractor_weights_path": str(self.weights)}


class _Unloaded(FeatureExtractorInceptionV3):
    """Keeps the weights that it is built with."""

    def load_state_dict(self, *_: object, **__: object) -> None:
        """Load nothing."""


def random_inception(folder: Path) -> Path:
    """Write random weights in torch-fidelity's format."""
    path = folder / "random-inception.pth"
    torch.save({}, path)
    torch.manual_seed(0)
    network = _Unloaded("random", ["2048"], feature_extractor_weights_path=str(path))
    for part in network.modules():
        if isinstance(part, nn.Conv2d):
            nn.init.kaiming_normal_(part.weight)
    torch.save(network.state_dict(), path)
    return path


class SqueezeNet(FeatureExtractorBase):
    """SqueezeNet 1.0 of torchvision up to its last convolution of 512 channels, averaged over places."""

    weights: Path | None = None

    def __init__(self, name: str, features_list: list[str], **_: object) -> None:
        super().__init__(name, features_list)
        torch.manual_seed(0)
        network = squeezenet1_0()
        if self.weights is not None:
            network.load_state_dict(load_file(self.weights))
        self.layers = network.features
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1) * 255)
        self.register_buffer("deviation", torch.tensor(DEVIATION).view(1, 3, 1, 1) * 255)

    def forward(self, images: Tensor) -> tuple[Tensor]:
        """Return features (N, 512) of uint8 images (N, 3, H, W)."""
        return (self.layers((images.float() - self.mean) / self.deviation).mean((2, 3)),)

    @staticmethod
    def get_provided_features_list() -> tuple[str, ...]:
        """Return the name of the only layer."""
        return ("512",)

    @staticmethod
    def get_default_feature_layer_for_metric(metric: str) -> str:  # noqa: ARG004
        """Return the name of the only layer."""
        return "512"

    @staticmethod
    def can_be_compiled() -> bool:
        """Tell that it is run as it is."""
        return False


class SqueezeNetFeatures:
    """The same network as an extractor of genbench's."""

    name = SQUEEZENET
    size = 512

    def __init__(self, device: torch.device) -> None:
        self.chunks = Chunks.on(device, cpu=32, gpu=256)
        network = SqueezeNet(self.name, ["512"]).eval().requires_grad_(False)
        self.network = network.to(device).to(memory_format=self.chunks.layout)
        weights = b"".join(value.cpu().numpy().tobytes() for value in network.state_dict().values())
        self.weights_hash = sha256(weights).hexdigest()
        self.facts = {"resize": "none"}

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        """Return features (N, 512) of uint8 images (N, 3, H, W)."""
        layout = self.chunks.layout
        return self.chunks.apply(lambda chunk: self.network(chunk.contiguous(memory_format=layout))[0], images)

    def warnings(self, side: int, channels: int) -> tuple[str, ...]:
        """Return nothing: these numbers are compared with torch-fidelity's alone."""
        return ()


class SqueezeNetPair:
    """SqueezeNet 1.0, from a state dict of torchvision's in safetensors."""

    def __init__(self, weights: Path | None, folder: Path) -> None:
        SqueezeNet.weights = weights
        if SQUEEZENET not in FEATURE_EXTRACTORS_REGISTRY:
            register_feature_extractor(SQUEEZENET, SqueezeNet)

    def ours(self, device: torch.device) -> Extractor:
        return SqueezeNetFeatures(device)

    def theirs(self) -> Mapping[str, Any]:
        return {"feature_extractor": SQUEEZENET}


EXTRACTORS: Mapping[str, Callable[[Path | None, Path], Pair]] = {
    "inception": InceptionPair,
    "squeezenet": SqueezeNetPair,
}
