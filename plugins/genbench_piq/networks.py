"""The metrics that have a network.

Weights are read in genbench's own ways: piq's constructors unpickle what they download.
"""

from collections.abc import Sequence
from typing import Any

import piq
import torch
import torchvision.models
from piq.perceptual import VGG16_LAYERS
from piq.pieapp import PieAPPModel
from torch import Tensor, nn

from genbench.evaluate.extractors.torchvision import published_classifier
from genbench.evaluate.extractors.weights import Published, Weights, fitting, hash_in, obtain, read
from genbench.interfaces import View
from genbench.records import Scalar
from genbench_piq.catalogue import METRICS
from genbench_piq.settings import BackboneSettings, HeadsSettings, PieappSettings
from genbench_piq.similarity import BACKWARDS, PiqSimilarity

LAYER = VGG16_LAYERS["relu3_3"]
"""Place in VGG-16 that piq takes features of for content and style."""

LAYERS = [VGG16_LAYERS[name] for name in ("relu1_2", "relu2_2", "relu3_3", "relu4_3", "relu5_3")]
"""Places in VGG-16 that LPIPS and DISTS take features of."""

CHANNELS = (3, 64, 128, 256, 512, 512)
"""Of an image, and of DISTS's features of it."""

STRIDE = 27
"""From one of PieAPP's patches to the next, in pixels; piq's default."""


def piq_weights(name: str, setting: str) -> Published:
    """Return where piq publishes a metric's own weights."""
    url = getattr(piq, name)._weights_url
    file = url.rpartition("/")[2]
    return Published(f"{name} weights of piq", url, (file,), hash_in(file), setting=setting)


class ContentLoss(PiqSimilarity):
    """Squared distance of VGG-16's features at relu3_3, its mean over places (Gatys et al. 2016, equation 1).

    Raises:
        NotApplicable: the network's weights are nowhere and can't be downloaded.
    """

    def __init__(self, settings: BackboneSettings) -> None:
        features, facts = _vgg16(settings, LAYER)
        loss = piq.ContentLoss(features, layers=[LAYER], reduction="none")
        super().__init__(METRICS["ContentLoss"], loss, facts)


class StyleLoss(PiqSimilarity):
    """Squared distance of the Gram matrix of VGG-16's features at relu3_3 (Gatys et al. 2016, equations 3 and 4).

    It does not see where in the image anything is.

    Raises:
        NotApplicable: the network's weights are nowhere and can't be downloaded.
    """

    def __init__(self, settings: BackboneSettings) -> None:
        features, facts = _vgg16(settings, LAYER)
        loss = piq.StyleLoss(features, layers=[LAYER], reduction="none")
        super().__init__(METRICS["StyleLoss"], loss, facts)


class LPIPS(PiqSimilarity):
    """Distance of VGG-16's features, weighed as people judge it (Zhang et al. 2018, equation 1).

    Raises:
        NotApplicable: the weights of the network, or piq's of the metric, are nowhere and can't be downloaded.
    """

    def __init__(self, settings: HeadsSettings) -> None:
        features, facts = _vgg16(settings, LAYERS[-1])
        published = piq_weights("LPIPS", "heads")
        heads = read(obtain(published, settings.heads), published)
        with fitting(heads.path, published):
            loss = _loss(piq.LPIPS, features, _heads(heads), normalize_features=True)
        super().__init__(METRICS["LPIPS"], loss, {**facts, "heads_weights": heads.sha256})


class DISTS(PiqSimilarity):
    """1 - similarity of structure and texture in the image and in VGG-16's features of it (Ding et al. 2020).

    Raises:
        NotApplicable: the weights of the network, or piq's of the metric, are nowhere and can't be downloaded.
    """

    def __init__(self, settings: HeadsSettings) -> None:
        features, facts = _vgg16(settings, LAYERS[-1])
        published = piq_weights("DISTS", "heads")
        heads = read(obtain(published, settings.heads), published)
        with fitting(heads.path, published):
            weights = [part for name in ("alpha", "beta") for part in torch.split(heads.tensors[name], [*CHANNELS], 1)]
            loss = _loss(piq.DISTS, features, weights, replace_pooling=True, allow_layers_weights_mismatch=True)
        with torch.no_grad():
            loss.get_features(torch.zeros(1, CHANNELS[0], 16, 16))  # its pooling's kernels are made by the first use
        super().__init__(METRICS["DISTS"], loss, {**facts, "heads_weights": heads.sha256})


class PieAPP(PiqSimilarity):
    """Error as people judge it, learned from which of two images they prefer (Prashnani et al. 2018).

    Nothing in it makes an image's own error the least that there is.

    Raises:
        NotApplicable: its weights are nowhere and can't be downloaded.
    """

    def __init__(self, settings: PieappSettings) -> None:
        published = piq_weights("PieAPP", "weights")
        weights = read(obtain(published, settings.weights), published)
        loss, facts = _pieapp(weights, published), {"network_weights": weights.sha256}
        super().__init__(METRICS["PieAPP"], loss, facts, BACKWARDS)

    def forward(self, real: View, fake: View) -> Tensor:
        loss: Any = self._loss[0]
        loss.enable_grad = torch.is_grad_enabled()
        return super().forward(real, fake)


def _vgg16(settings: BackboneSettings, last: str) -> tuple[nn.Sequential, dict[str, Scalar]]:
    """Return the layers of VGG-16 up to the last that is compared, with what of them can move a number."""
    published = published_classifier("vgg16")
    weights = read(obtain(published, settings.weights), published)
    with torch.device("meta"):  # no weights are drawn that would be overwritten
        features: nn.Sequential = torchvision.models.vgg16(weights=None).features
    own = {name.removeprefix("features."): t for name, t in weights.tensors.items() if name.startswith("features.")}
    with fitting(weights.path, published):
        features.load_state_dict(own, assign=True)
    return features[: int(last) + 1], {"network": "vgg16", "network_weights": weights.sha256}


def _heads(weights: Weights) -> list[Tensor]:
    """Return LPIPS's weights of each layer's channels, (1, C, 1, 1)."""
    return [weights.tensors[str(place)].reshape(1, size, 1, 1) for place, size in enumerate(CHANNELS[1:])]


def _loss(kind: Any, features: nn.Sequential, weights: Sequence[Tensor], **options: bool) -> Any:
    """Return LPIPS or DISTS, built as piq builds it but for what it downloads."""
    loss = kind.__new__(kind)
    piq.ContentLoss.__init__(loss, features, layers=LAYERS, weights=weights, reduction="none", **options)
    return loss


def _pieapp(weights: Weights, published: Published) -> Any:
    """Return PieAPP, built as piq builds it but for what it downloads."""
    with torch.device("meta"):
        network = PieAPPModel()
    with fitting(weights.path, published):
        subtract = weights.tensors["ref_score_subtract.weight"].reshape(1, 1)  # published as (1,)
        network.load_state_dict({**weights.tensors, "ref_score_subtract.weight": subtract}, assign=True)
    loss = piq.PieAPP.__new__(piq.PieAPP)
    nn.Module.__init__(loss)
    loss.model, loss.data_range, loss.reduction, loss.stride = network, BACKWARDS, "none", STRIDE
    return loss
