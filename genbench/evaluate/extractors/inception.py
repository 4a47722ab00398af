"""Inception-v3, on which the Fréchet Inception distance is defined."""

import io
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from genbench.evaluate.chunks import Chunks
from genbench.evaluate.extractors.interface import GREY, ExtractorRequest, unsuited
from genbench.evaluate.extractors.resizing import TensorflowResize
from genbench.evaluate.extractors.weights import Published, fitting, hash_in, obtain, read
from genbench.records import Scalar

WEIGHTS_VARIABLE = "GENBENCH_INCEPTION"
INCEPTION_URL = (
    "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/weights-inception-2015-12-05-6726825d.pth"
)
INCEPTION_FILE = INCEPTION_URL.rpartition("/")[2]

INCEPTION_SIDE = 299
"""In pixels, of the images that the network is made for."""

WEIGHTS = Published(
    what="Inception weights in torch-fidelity's format",
    url=INCEPTION_URL,
    files=(INCEPTION_FILE,),
    sha256=hash_in(INCEPTION_FILE),
    variable=WEIGHTS_VARIABLE,
)


def inception(request: ExtractorRequest) -> "Inception":
    """Inception-v3 of 2015-12-05, the 2048 pool3 features, as torch-fidelity ports it from TensorFlow.

    The only network whose Fréchet distance is called FID (Heusel et al. 2017).
    """
    return Inception.load(inception_weights(request.weights), request.device)


def inception_weights(setting: str = "") -> Path:
    """Find the weights: `setting`, else GENBENCH_INCEPTION, GENBENCH_WEIGHTS, torch's hub cache, else download them.

    Raises:
        GenbenchError: a file that the user named is not there.
        NotApplicable: they are nowhere and can't be downloaded; says where to put them.
    """
    return obtain(WEIGHTS, setting)


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
        layers, classes = _folded(network)
        self._network = self._chunks.put(layers, device)
        self._classes = classes.to(device)
        self._resize = TensorflowResize(INCEPTION_SIDE, scale=1 / 128)

    @property
    def facts(self) -> Mapping[str, Scalar]:
        return {
            "extractor_library": f"torch-fidelity {version('torch-fidelity')}",
            "resize": "299 px, bilinear as in TensorFlow 1, inside the extractor",
            "grey_images": GREY,
        }

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        return self._chunks.apply(self._features, images)

    def logits(self, features: Tensor) -> Tensor:
        """Return logits (N, 1008) of features (N, 2048), without the classes' biases, for the Inception score.

        That is how the score was first computed; torch-fidelity calls them `logits_unbiased`.
        """
        return (features.to(self._classes.device) @ self._classes.T).to(features.device)

    def warnings(self, side: int, channels: int) -> tuple[str, ...]:
        return unsuited("Inception", INCEPTION_SIDE, side, channels) + self._resize.warnings(side)

    def _features(self, images: Tensor) -> Tensor:
        # 128 is subtracted before resizing, where it is exact.
        resized = self._resize(images.float() - 128)
        colour = resized.expand(-1, 3, -1, -1).contiguous(memory_format=self._chunks.layout)
        features: Tensor = self._network(colour)
        return features.flatten(1)

    @classmethod
    def load(cls, weights: Path, device: torch.device) -> "Inception":
        """Load the network with the weights of a file in torch-fidelity's format.

        Raises:
            GenbenchError: the file can't be read, or holds something else.
        """
        from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

        found = read(weights, WEIGHTS)
        # torch-fidelity unpickles the file it is given with full powers, so it gets a copy that was written here.
        safe = io.BytesIO()
        torch.save(dict(found.tensors), safe)
        safe.seek(0)
        with fitting(weights, WEIGHTS):
            network = FeatureExtractorInceptionV3(cls.name, ["2048"], feature_extractor_weights_path=safe)
        return cls(network, found.sha256, device)


def _folded(network: nn.Module) -> tuple[nn.Sequential, Tensor]:
    """Return the layers up to pool3, each batch-norm folded into the convolution before it, and the classes' weights.

    Spoils the network.
    """
    from torch_fidelity.feature_extractor_inceptionv3 import BasicConv2d

    for part in network.modules():
        if isinstance(part, BasicConv2d):
            part.conv = fuse_conv_bn_eval(part.conv, part.bn)
            part.bn = nn.Identity()
    *layers, classes = network.children()  # in the order in which torch-fidelity applies them
    weight: Tensor = classes.weight.detach()  # type: ignore[operator]
    return nn.Sequential(*layers), weight
