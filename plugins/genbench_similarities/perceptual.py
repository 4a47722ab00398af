"""A similarity in the features of a network trained to recognise objects."""

from collections.abc import Mapping

import torch
import torchvision.models
from torch import Tensor, nn

from genbench.evaluate.extractors.torchvision import IMAGENET, published_classifier
from genbench.evaluate.extractors.weights import fitting, obtain, read
from genbench.interfaces import Similarity, View
from genbench.records import Scalar
from genbench_similarities.settings import PerceptualSettings

LAYERS: Mapping[str, tuple[int, ...]] = {
    "squeezenet1_0": (1, 5, 10, 12),
    "squeezenet1_1": (1, 4, 7, 12),
    "alexnet": (1, 4, 7, 9, 11),
    "vgg16": (3, 8, 15, 22, 29),
}
"""Places in `features` of what is compared: before each pooling, and the last; in alexnet and vgg16, those of LPIPS."""

_TINY = 1e-10


class Perceptual(Similarity):
    """Squared distance of features of unit length, summed over channels and layers, its mean taken over places.

    Zhang et al. 2018, equation 1, with all weights 1 (their "baseline" of uncalibrated features). Images are shown at
    their own size; grey ones as three equal channels.

    The network is no part of the model: it is not trained and not in checkpoints, but its hash is in `facts`.

    Raises:
        NotApplicable: its weights are nowhere and can't be downloaded.
    """

    def __init__(self, settings: PerceptualSettings) -> None:
        super().__init__()
        published = published_classifier(settings.network)
        weights = read(obtain(published), published)
        network = torchvision.models.get_model(settings.network, weights=None)
        with fitting(weights.path, published):
            network.load_state_dict(dict(weights.tensors))
        self.layers = LAYERS[settings.network]
        self.facts: Mapping[str, Scalar] = {"network": settings.network, "network_weights": weights.sha256}
        # In a tuple, torch does not take it for a part of this module.
        self._network = (_frozen(network.features[: self.layers[-1] + 1]),)

    def forward(self, real: View, fake: View) -> Tensor:
        with torch.no_grad():
            truth = self._features(real.images)
        distances = [
            (a - b).square().sum(1).flatten(1).mean(1) for a, b in zip(truth, self._features(fake.images), strict=True)
        ]
        return torch.stack(distances).sum(0)

    def _features(self, images: Tensor) -> list[Tensor]:
        """Return the activations of each layer, (N, C, H, W), of unit length at each place."""
        network = self._network[0].to(images.device)
        mean, deviation = (images.new_tensor(values)[:, None, None] for values in IMAGENET)
        value = ((images.expand(-1, 3, -1, -1) + 1) / 2 - mean) / deviation
        found = []
        for place, layer in enumerate(network):
            value = layer(value)
            if place in self.layers:
                found.append(value / (value.square().sum(1, keepdim=True) + _TINY).sqrt())
        return found


def _frozen(layers: nn.Sequential) -> nn.Sequential:
    """Return layers that learn nothing and change nothing in place."""
    for module in layers.modules():
        if isinstance(module, nn.ReLU):
            module.inplace = False
    return layers.eval().requires_grad_(False)
