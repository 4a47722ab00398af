"""LPIPS: how far reconstructions are from test images in the features of a network, weighed as people judge them."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path

import torch
from torch import Tensor, nn

from genbench.errors import NotApplicable
from genbench.evaluate.chunks import Chunks
from genbench.evaluate.context import EvaluationContext
from genbench.evaluate.extractors.interface import GREY
from genbench.evaluate.extractors.torchvision import published_classifier
from genbench.evaluate.extractors.weights import fitting, obtain, read
from genbench.interfaces import Evaluator
from genbench.records import Scalar, Score
from genbench_evaluators.reconstruction import SPLIT, mean_score, measured
from genbench_evaluators.reconstruction_settings import LpipsSettings, Net

PATCH = 64
"""Side in pixels of the patches on which people's judgements were collected (Zhang et al. 2018, section 2.1)."""

_SLICE = re.compile(r"(slice\d+|slices\.\d+)\.")
"""How torchmetrics' names of a backbone's weights begin, where torchvision's begin with `features.`."""


@dataclass(frozen=True)
class Backbone:
    """A network of torchvision's whose features LPIPS compares.

    Attributes:
        name: torchvision's.
        least: side in pixels of the smallest image that all its layers take.
    """

    name: str
    least: int


BACKBONES: Mapping[Net, Backbone] = {
    "alex": Backbone("alexnet", 31),
    "vgg": Backbone("vgg16", 16),
    "squeeze": Backbone("squeezenet1_1", 17),
}


class PerceptualDistance(Evaluator):
    """Mean over test images of LPIPS (Zhang et al. 2018, eq. 1, version 0.1) to their reconstructions."""

    def __init__(self, settings: LpipsSettings) -> None:
        self.settings = settings

    def evaluate(self, context: EvaluationContext) -> Iterable[Score]:
        side, net = context.dataset.size, self.settings.net
        check_size(side, net)
        real, _ = next(context.reconstructions(SPLIT))  # a model that can't reconstruct costs no download
        distance = Lpips.load(net, self.settings.weights, real.device)
        yield mean_score(
            context,
            "lpips",
            "lower",
            measured(context, distance),
            {"pixel_range": "[-1, 1]", **distance.facts},
            warnings=unsuited(side, context.dataset.channels),
        )


class Lpips:
    """LPIPS as torchmetrics has it: a network of torchvision's and the linear heads that Zhang et al. fitted to it.

    Attributes:
        facts: what of it can move a number, for protocols.
    """

    def __init__(self, network: nn.Module, facts: Mapping[str, Scalar], device: torch.device) -> None:
        self.facts = facts
        self._chunks = Chunks.on(device, cpu=16, gpu=64)
        self._network = self._chunks.put(network, device)

    @torch.no_grad()
    def __call__(self, real: Tensor, fake: Tensor) -> Tensor:
        """Return the distance of each pair, (N,), of images (N, C, H, W) in [-1, 1]; grey ones tripled."""
        return self._chunks.apply(self._distances, torch.stack([real, fake], 1).expand(-1, -1, 3, -1, -1))

    def _distances(self, pairs: Tensor) -> Tensor:
        real, fake = (side.contiguous(memory_format=self._chunks.layout) for side in pairs.unbind(1))
        distances: Tensor = self._network(real, fake)
        return distances.flatten()

    @classmethod
    def load(cls, net: Net, weights: str, device: torch.device) -> "Lpips":
        """Load the backbone `alex`, `vgg` or `squeeze` with weights of torchvision's, and its heads.

        Args:
            weights: path of the backbone's weights; empty: look for them, else download them.

        Raises:
            NotApplicable: the weights can't be had.
            GenbenchError: a file that the user named is not there, or is something else.
        """
        # The metric's public class always loads what torchvision downloads, and unpickles it.
        from torchmetrics.functional.image import lpips

        published = published_classifier(BACKBONES[net].name)
        backbone = read(obtain(published, weights), published)
        heads = Path(lpips.__file__).parent / "lpips_models" / f"{net}.pth"
        network = lpips._LPIPS(net=net, pnet_rand=True, model_path=str(heads))
        with fitting(backbone.path, published):
            named = {
                name: backbone.tensors[_SLICE.sub("features.", name, count=1)] for name in network.net.state_dict()
            }
            network.net.load_state_dict(named)
        facts: dict[str, Scalar] = {
            "net": BACKBONES[net].name,
            "net_weights": backbone.sha256,
            "heads": "LPIPS 0.1",
            "heads_weights": sha256(heads.read_bytes()).hexdigest(),
            "library": f"torchmetrics {version('torchmetrics')}",
            "grey_images": GREY,
        }
        return cls(network, facts, device)


def check_size(side: int, net: Net) -> None:
    """Raise NotApplicable where a backbone's pooling leaves nothing of images of so many pixels."""
    backbone = BACKBONES[net]
    if side >= backbone.least:
        return
    fit = [other for other, b in BACKBONES.items() if b.least <= side]
    hint = f"set `net` to {' or '.join(f'`{other}`' for other in fit)}" if fit else "ask for other scores"
    raise NotApplicable(
        f"LPIPS on {backbone.name} needs images of at least {backbone.least} px, these are {side} px", hint
    )


def unsuited(side: int, channels: int) -> tuple[str, ...]:
    """Warn where images are not what people judged: smaller than their patches, or grey."""
    found = [f"{side} px"] if side < PATCH else []
    found += ["grey"] if channels == 1 else []
    if not found:
        return ()
    return (f"LPIPS was fitted to judgements of {PATCH} px patches in colour; these are {' and '.join(found)}",)
