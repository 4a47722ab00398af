"""The networks that torch-fidelity offers beside Inception, fed as it feeds them: VGG-16, CLIP and DINOv2.

Their features are torch-fidelity's but for rounding; their weights are read without unpickling or running anything.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version

import torch
from torch import Tensor, nn

from genbench.errors import unknown_name
from genbench.evaluate.chunks import Chunks
from genbench.evaluate.extractors.dinov2 import DINOV2, vision_transformer
from genbench.evaluate.extractors.interface import GREY, ExtractorRequest, unsuited
from genbench.evaluate.extractors.resizing import TensorflowResize
from genbench.evaluate.extractors.torchvision import IMAGENET, published_classifier
from genbench.evaluate.extractors.weights import Published, Weights, fitting, obtain, read
from genbench.records import Scalar

OPENAI = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
"""Mean and deviation of the colours in [0, 1] of the images that CLIP learned from."""

CLIP_SHAPES = {"vit-b-32": (768, 32), "vit-b-16": (768, 16), "vit-l-14": (1024, 14)}
"""Width and patch of CLIP's vision transformers."""


@dataclass(frozen=True)
class Design:
    """How a network is fed, and what is said of it.

    Attributes:
        name: the extractor's.
        who: the network, as a sentence begins with it.
        size: of its features.
        side: in pixels, of the images that it is given.
        colours: mean and deviation of each colour in [0, 1], by which the images are normalised.
        library: the distribution that its layers come from.
        layer: where its features are taken.
    """

    name: str
    who: str
    size: int
    side: int
    colours: tuple[tuple[float, float, float], tuple[float, float, float]]
    library: str
    layer: str


class FidelityFeatures:
    """A network on images that are resized as TensorFlow 1 does it and normalised by colour.

    Args:
        network: turns float images (N, 3, side, side) into features (N, size).
    """

    def __init__(self, design: Design, network: nn.Module, weights_hash: str, device: torch.device) -> None:
        self.design = design
        self.name = design.name
        self.size = design.size
        self.weights_hash = weights_hash
        self._chunks = Chunks.on(device, cpu=8, gpu=64)
        self._network = self._chunks.put(network, device)
        self._resize = TensorflowResize(design.side)
        mean, deviation = (255 * torch.tensor(values).view(3, 1, 1).to(device) for values in design.colours)
        self._mean, self._deviation = mean, deviation

    @property
    def facts(self) -> Mapping[str, Scalar]:
        return {
            "extractor_library": f"{self.design.library} {version(self.design.library)}",
            "extractor_layer": self.design.layer,
            "resize": f"{self.design.side} px, bilinear as in TensorFlow 1, inside the extractor",
            "grey_images": GREY,
        }

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        return self._chunks.apply(self._features, images)

    def warnings(self, side: int, channels: int) -> tuple[str, ...]:
        return unsuited(self.design.who, self.design.side, side, channels) + self._resize.warnings(side)

    def _features(self, images: Tensor) -> Tensor:
        normal = (self._resize(images.float()) - self._mean) / self._deviation  # grey images get their three channels
        features: Tensor = self._network(normal.contiguous(memory_format=self._chunks.layout))
        return features


def vgg16(request: ExtractorRequest) -> FidelityFeatures:
    """VGG-16 of torchvision, the 4096 features after the ReLU of its second fully connected layer (`fc2_relu`).

    What precision and recall are defined on (Kynkäänniemi et al. 2019, section 2), as torch-fidelity computes them.
    """
    from torchvision.models import vgg16 as build

    published = published_classifier("vgg16")
    weights = _weights(published, request)
    with torch.device("meta"):  # no random weights are drawn, only to be overwritten
        network = build()
    with fitting(weights.path, published):
        network.load_state_dict(weights.tensors, assign=True)
    network.classifier = network.classifier[:5]
    design = Design("vgg16", "VGG-16", 4096, 224, IMAGENET, "torchvision", "fc2_relu")
    return FidelityFeatures(design, network, weights.sha256, request.device)


def clip(request: ExtractorRequest) -> FidelityFeatures:
    """The image encoder of CLIP (Radford et al. 2021): vit-b-32 unless vit-b-16 or vit-l-14 is asked for.

    It learned from 400 million captioned images, so that it does not turn on ImageNet's classes as Inception does
    (Kynkäänniemi et al. 2023).
    """
    from torch_fidelity.feature_extractor_clip import build_model

    if request.variant not in CLIP_SHAPES:
        raise unknown_name("variant", request.variant, CLIP_SHAPES)
    published = published_clip(request.variant)
    weights = _weights(published, request)
    with fitting(weights.path, published):
        tensors = {name: tensor for name, tensor in weights.tensors.items() if name.startswith("visual.")}
        found = tuple(tensors["visual.conv1.weight"].shape[i] for i in (0, -1))
        if found != CLIP_SHAPES[request.variant]:
            raise ValueError(f"width and patch are {found}, expected {CLIP_SHAPES[request.variant]}")
        # torch-fidelity reads the features' size off the text encoder, which has it in common with this one.
        network = build_model(tensors | {"text_projection": tensors["visual.proj"]}, torch.float32).visual
    name = "clip" if request.variant == "vit-b-32" else f"clip:{request.variant}"
    side, size = network.input_resolution, network.output_dim
    design = Design(name, "CLIP", size, side, OPENAI, "torch-fidelity", "image embedding")
    return FidelityFeatures(design, network, weights.sha256, request.device)


def dinov2(request: ExtractorRequest) -> FidelityFeatures:
    """DINOv2's class token (Oquab et al. 2024): vitb14 unless vits14 or vitl14 is asked for.

    It learned without labels; Stein et al. (2023) find distances on it nearest to what people see.
    """
    if request.variant not in DINOV2:
        raise unknown_name("variant", request.variant, DINOV2)
    published = DINOV2[request.variant].published
    weights = _weights(published, request)
    with fitting(weights.path, published):
        network = vision_transformer(weights.tensors, DINOV2[request.variant].width)
    name = "dinov2" if request.variant == "vitb14" else f"dinov2:{request.variant}"
    layer = "class token after the last norm"
    design = Design(name, "DINOv2", DINOV2[request.variant].width, 224, IMAGENET, "torchvision", layer)
    return FidelityFeatures(design, network, weights.sha256, request.device)


def published_clip(variant: str) -> Published:
    """Return where the weights of one of CLIP's variants are published."""
    from torch_fidelity.feature_extractor_clip import MODEL_METADATA, MODEL_URLS

    name = f"clip-{variant}"
    digest, file = MODEL_METADATA[name]["hash"], MODEL_METADATA[name]["filename"]
    return Published(
        what=f"{name} weights of OpenAI",
        url=MODEL_URLS[name],
        files=(f"{name}-{digest}.pt", f"{file}.pt", f"{name}.safetensors"),
        sha256=digest,
    )


def _weights(published: Published, request: ExtractorRequest) -> Weights:
    return read(obtain(published, request.weights), published)


def clip_variants() -> list[str]:
    """Return the names of CLIP's image encoders."""
    return list(CLIP_SHAPES)


def dinov2_variants() -> list[str]:
    """Return the names of DINOv2's networks."""
    return list(DINOV2)
