"""Any classifier of torchvision as a feature extractor: what its last layer gets."""

import re
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, Protocol

import torch
import torchvision.models
from torch import Tensor, nn

from genbench.errors import GenbenchError, did_you_mean
from genbench.evaluate.chunks import Chunks
from genbench.evaluate.extractors.interface import GREY, ExtractorRequest, unsuited
from genbench.evaluate.extractors.weights import Published, fitting, hash_in, obtain, read
from genbench.records import Scalar

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""Mean and deviation of ImageNet's colours in [0, 1]."""

_OLD_DENSENET = re.compile(r"(.*denselayer\d+\.(?:norm|relu|conv))\.([12]\..+)")
"""Names of weights that DenseNet's published files have and its network no longer has."""


class Preset(Protocol):
    """torchvision's preparation of images for a classifier, as its published weights carry it."""

    resize_size: list[int]
    crop_size: list[int]
    mean: list[float]
    std: list[float]
    interpolation: Any

    def __call__(self, images: Tensor) -> Tensor:
        """Return float images (N, 3, crop, crop) of uint8 images (N, 3, H, W)."""
        ...


@dataclass(frozen=True)
class TrainedClassifier:
    """A classifier with its weights.

    Attributes:
        preset: how images are prepared for it.
        sha256: of the file with the weights.
    """

    network: nn.Module
    preset: Preset
    sha256: str


class TorchvisionFeatures:
    """The input of a classifier's last layer, averaged over places where it has any.

    Args:
        name: the extractor's, such as `torchvision:resnet18`.
        network: with its weights, as torchvision builds it.
        preset: how images are prepared.
    """

    def __init__(self, name: str, network: nn.Module, weights_hash: str, preset: Preset, device: torch.device) -> None:
        self.name = name
        self.weights_hash = weights_hash
        self._preset = preset
        self._chunks = Chunks.on(device, cpu=8, gpu=64)
        self._network = self._chunks.put(network, device)
        layer, self.size = _last_layer(self._network, preset.crop_size[0], device)
        self._seen: list[Tensor] = []
        layer.register_forward_pre_hook(lambda _, inputs: self._seen.append(inputs[0]))

    @property
    def facts(self) -> Mapping[str, Scalar]:
        preset = self._preset
        sizes = f"{preset.resize_size[0]} px, {preset.interpolation.value}, antialiased"
        colours = [" ".join(f"{value:g}" for value in values) for values in (preset.mean, preset.std)]
        return {
            "extractor_library": f"torchvision {version('torchvision')}",
            "resize": f"{sizes}, then the central {preset.crop_size[0]} px, inside the extractor",
            "normalisation": f"mean {colours[0]}, deviation {colours[1]}",
            "grey_images": GREY,
        }

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        return self._chunks.apply(self._features, images)

    def warnings(self, side: int, channels: int) -> tuple[str, ...]:
        return unsuited(f"`{self.name}`", self._preset.crop_size[0], side, channels)

    def _features(self, images: Tensor) -> Tensor:
        prepared = self._preset(images.expand(-1, 3, -1, -1))
        self._seen.clear()
        self._network(prepared.contiguous(memory_format=self._chunks.layout))
        return _pooled(self._seen.pop())


def classifiers() -> list[str]:
    """Return the names of all classifiers of torchvision."""
    return list(torchvision.models.list_models(module=torchvision.models))


def classifier(request: ExtractorRequest) -> TorchvisionFeatures:
    """Any classifier of torchvision, by the name of its builder: what its last layer gets, pooled over places.

    Its images are prepared as its published weights ask for it. Weights of another file, which can't say what they ask
    for, get the resizing of the network's first published weights and ImageNet's mean and deviation.

    Example: `--evaluators fd:torchvision:resnet18`.
    """
    found = trained_classifier(request.variant, request.weights)
    name = f"torchvision:{request.variant}"
    return TorchvisionFeatures(name, found.network, found.sha256, found.preset, request.device)


def trained_classifier(name: str, weights: str = "") -> TrainedClassifier:
    """Return a classifier of torchvision with its weights, on the CPU, as torchvision builds it.

    Args:
        name: of its builder.
        weights: path of the file with the weights; empty: look for them, else download them.

    Raises:
        GenbenchError: torchvision has no such classifier, or the file is something else.
        NotApplicable: the weights are nowhere and can't be downloaded.
    """
    known = classifiers()
    if name not in known:
        guess = did_you_mean(name, known)
        see = "any name that `torchvision.models.list_models(torchvision.models)` gives"
        raise GenbenchError(f"unknown classifier of torchvision `{name}`", f"{guess} {see}" if guess else see)
    versions = torchvision.models.get_model_weights(name)
    published = published_classifier(name)
    file = read(obtain(published, weights), published)
    # A file is what its content is, however it is called.
    same = [v for v in versions if file.sha256.startswith(hash_in(v.url))]
    network = _build(name, (same or list(versions))[0])
    with fitting(file.path, published):
        network.load_state_dict(_state(file.tensors, network))
    preset = same[0].transforms() if same else _unknown_preset(next(iter(versions)))
    return TrainedClassifier(network, preset, file.sha256)


def published_classifier(name: str) -> Published:
    """Return where torchvision publishes the weights of a classifier."""
    weights = torchvision.models.get_model_weights(name).DEFAULT
    file = weights.url.rpartition("/")[2]
    files = (file, f"{name}.safetensors")
    return Published(f"{name} weights of torchvision", weights.url, files, hash_in(file))


def _unknown_preset(weights: Any) -> Preset:
    preset: Preset = weights.transforms()
    preset.mean, preset.std = map(list, IMAGENET)
    return preset


def _build(name: str, weights: Any) -> nn.Module:
    """Build a network as torchvision does for these weights, without loading them."""
    options: dict[str, object] = {}
    if name in ("googlenet", "inception_v3"):
        options = {"transform_input": True, "init_weights": False}
    if name.startswith("vit_"):
        options = {"image_size": weights.meta["min_size"][0]}
    with torch.random.fork_rng(devices=[]):  # it draws weights that will be overwritten
        network: nn.Module = torchvision.models.get_model(name, weights=None, **options)
    return network


def _state(tensors: Mapping[str, Tensor], network: nn.Module) -> Mapping[str, Tensor]:
    """Return the tensors by the names that the network has for them, with what `torch.save` notes of versions."""
    state = OrderedDict((_OLD_DENSENET.sub(r"\1\2", name), tensor) for name, tensor in tensors.items())
    # MNASNet asks for its version, which a file of other formats can't hold.
    metadata = getattr(tensors, "_metadata", {"": {"version": getattr(network, "_version", None)}})
    state._metadata = metadata  # type: ignore[attr-defined]
    return state


def _last_layer(network: nn.Module, side: int, device: torch.device) -> tuple[nn.Module, int]:
    """Return the layer with weights that runs last, found by running the network, and the size of its input."""
    ran: list[tuple[nn.Module, int]] = []

    def note(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        ran.append((layer, _pooled(inputs[0]).shape[1]))

    hooks = [m.register_forward_pre_hook(note) for m in network.modules() if isinstance(m, nn.Linear | nn.Conv2d)]
    with torch.no_grad():
        network(torch.zeros(1, 3, side, side, device=device))
    for hook in hooks:
        hook.remove()
    return ran[-1]


def _pooled(features: Tensor) -> Tensor:
    return features.mean((2, 3)) if features.ndim == 4 else features
