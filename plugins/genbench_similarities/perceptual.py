"""Similarities in the features of networks trained to recognise objects."""

import operator
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, fx, nn
from torchvision.models.feature_extraction import create_feature_extractor, get_graph_node_names

from genbench.errors import GenbenchError, did_you_mean, first_line
from genbench.evaluate.extractors.lpips import check_size, load_lpips
from genbench.evaluate.extractors.torchvision import trained_classifier
from genbench.interfaces import Similarity, View
from genbench.records import Scalar
from genbench_similarities.settings import LpipsSettings, PerceptualSettings

LAYERS: Mapping[str, tuple[int, ...]] = {
    "squeezenet1_0": (1, 5, 10, 12),
    "squeezenet1_1": (1, 4, 7, 12),
    "alexnet": (1, 4, 7, 9, 11),
    "vgg16": (3, 8, 15, 22, 29),
}
"""Places in `features` of what is compared: before each pooling, and the last; in alexnet and vgg16, those of LPIPS."""

CHANNELS_LAST = "swin"
"""How names of networks begin whose features are (N, H, W, C)."""

OUTER = 2
"""How deep in a network those modules lie that make up the way through it: `layer1`, `features.3`."""

_TINY = 1e-10
"""Added to a squared length that is divided by."""

_IN_PLACE = {operator.iadd: operator.add, operator.imul: operator.mul}


class Perceptual(Similarity):
    """Squared distance of features of unit length, summed over channels and layers, its mean taken over places.

    Zhang et al. 2018, equation 1, with all weights 1 (their "baseline" of uncalibrated features). Images are shown at
    their own size; grey ones as three equal channels.

    The network is no part of the model: it is not trained and not in checkpoints, but its hash is in `facts`.

    Attributes:
        layers: names of what is compared.

    Raises:
        NotApplicable: its weights are nowhere and can't be downloaded.
        GenbenchError: there is no such network or layer; or, once it is used, the images are too small for it.
    """

    colours: Tensor

    def __init__(self, settings: PerceptualSettings) -> None:
        super().__init__()
        trained = trained_classifier(settings.network, settings.weights)
        network = trained.network.eval().requires_grad_(False)
        self.network = settings.network
        self.layers = _chosen(settings, network, trained.preset.crop_size[0])
        self.facts: Mapping[str, Scalar] = {
            "network": settings.network,
            "network_weights": trained.sha256,
            "layers": ", ".join(self.layers),
        }
        colours = torch.tensor([trained.preset.mean, trained.preset.std])
        self.register_buffer("colours", colours[:, :, None, None], persistent=False)
        # In a tuple, torch does not take it for a part of this module.
        self._network = (_extractor(network, self.layers),)
        self._sizes: set[tuple[int, ...]] = set()

    def forward(self, real: View, fake: View) -> Tensor:
        with torch.no_grad():
            truth = self._features(real.images)
        distances = [(a - b).square().sum(1).mean(1) for a, b in zip(truth, self._features(fake.images), strict=True)]
        return torch.stack(distances).sum(0)

    def _features(self, images: Tensor) -> list[Tensor]:
        """Return what is seen in each layer, (N, C, places), of unit length at each place."""
        network = self._network[0].to(images)
        if images.shape[2:] not in self._sizes:
            self._check(network, images)
        mean, deviation = self.colours.to(images)
        found = network(((images.expand(-1, 3, -1, -1) + 1) / 2 - mean) / deviation)
        values = [_places(found[layer], self.network) for layer in self.layers]
        return [value / (value.square().sum(1, keepdim=True) + _TINY).sqrt() for value in values]

    @torch.no_grad()
    def _check(self, network: nn.Module, images: Tensor) -> None:
        """Raise a GenbenchError where images of this size are too small for the network, or else no good to it."""
        height, width = images.shape[2:]
        try:
            network.forward(images.new_zeros(1, 3, height, width))  # called, it would print where it failed
        except (RuntimeError, AssertionError) as error:
            if isinstance(error, torch.OutOfMemoryError):
                raise
            raise GenbenchError(
                f"perceptual: {self.network} can't look at images of {width} × {height} px: {first_line(error)}",
                "larger images (--size), or settings `layers` that come earlier, or another `network`",
            ) from error
        self._sizes.add(images.shape[2:])


class Lpips(Similarity):
    """LPIPS (Zhang et al. 2018, equation 1, version 0.1): features as in `perceptual`, weighed as people judge.

    Grey images are shown as three equal channels. The network is no part of the model, as in `perceptual`.

    Raises:
        NotApplicable: its weights are nowhere and can't be downloaded; or, once it is used, the images are too small.
    """

    def __init__(self, settings: LpipsSettings) -> None:
        super().__init__()
        lpips = load_lpips(settings.net, settings.weights)
        self.net = settings.net
        self.facts = lpips.facts
        self._network = (lpips.network,)

    def forward(self, real: View, fake: View) -> Tensor:
        check_size(min(real.images.shape[2:]), self.net)
        network = self._network[0].to(real.images)
        distances: Tensor = network(*(view.images.expand(-1, 3, -1, -1) for view in (real, fake)))
        return distances.flatten()


def _chosen(settings: PerceptualSettings, network: nn.Module, side: int) -> list[str]:
    """Return the names of the layers to compare: the user's, those known to serve, or the last of each resolution."""
    named = [name.strip() for name in settings.layers.split(",") if name.strip()]
    if not named and settings.network in LAYERS:
        return [f"features.{place}" for place in LAYERS[settings.network]]
    if not named:
        return _stages(network, settings.network, side)
    nodes = get_graph_node_names(network, suppress_diff_warning=True)[1][1:]  # the first one is the image
    known = {".".join(node.split(".")[:depth]) for node in nodes for depth in range(1, node.count(".") + 2)}
    for name in named:
        if name not in known:
            guess = did_you_mean(name, known)
            stages = f"for example {', '.join(_stages(network, settings.network, side))}"
            raise GenbenchError(
                f"perceptual: {settings.network} has no layer `{name}`", f"{guess} {stages}" if guess else stages
            )
    return named


@torch.no_grad()
def _stages(network: nn.Module, name: str, side: int) -> list[str]:
    """Return the names of the outermost modules that end each resolution, poolings apart: run the network to see."""
    last: dict[int, str] = {}
    pooled: list[Tensor] = []

    def note(layer: str, module: nn.Module, output: object) -> None:
        if not isinstance(output, Tensor) or output.ndim != 4:
            return
        height, width = output.shape[1:3] if name.startswith(CHANNELS_LAST) else output.shape[2:]
        if "pool" in type(module).__name__.lower():
            pooled.append(output)
        proper = height == width > 1 and not any(output is pool for pool in pooled)
        if proper and layer.count(".") <= last.get(height, layer).count("."):
            last[height] = layer

    hooks = [
        module.register_forward_hook(lambda module, _, output, layer=layer: note(layer, module, output))
        for layer, module in network.named_modules()
        if layer and layer.count(".") < OUTER
    ]
    network(torch.zeros(1, 3, side, side))
    for hook in hooks:
        hook.remove()
    return [last[size] for size in sorted(last, reverse=True)]


def _extractor(network: nn.Module, layers: Sequence[str]) -> nn.Module:
    """Return what computes these layers of a network and nothing beyond, and changes nothing in place."""
    for module in network.modules():
        if hasattr(module, "inplace"):
            setattr(module, "inplace", False)  # noqa: B010 - the type checker takes a module's attributes for tensors
    extractor: fx.GraphModule = create_feature_extractor(network, list(layers), suppress_diff_warning=True).eval()
    for node in extractor.graph.nodes:
        node.target = _IN_PLACE.get(node.target, node.target)
        if "inplace" in node.kwargs:
            node.kwargs = {**node.kwargs, "inplace": False}
    extractor.recompile()
    return extractor


def _places(features: Tensor, name: str) -> Tensor:
    """Return features as (N, C, places), of (N, C, H, W), (N, H, W, C), (N, places, C) or (N, C)."""
    if features.ndim == 2:
        return features[..., None]
    if features.ndim == 3:
        return features.mT
    return features.flatten(1, 2).mT if name.startswith(CHANNELS_LAST) else features.flatten(2)
