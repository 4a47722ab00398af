"""LPIPS: how far reconstructions are from test images in the features of a network, weighed as people judge them."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from genbench.evaluate.chunks import Chunks
from genbench.evaluate.context import EvaluationContext
from genbench.evaluate.extractors.lpips import check_size, load_lpips
from genbench.interfaces import Evaluator
from genbench.records import Score
from genbench_evaluators.reconstruction import SPLIT, mean_score, measured
from genbench_evaluators.reconstruction_settings import LpipsSettings

PATCH = 64
"""Side in pixels of the patches on which people's judgements were collected (Zhang et al. 2018, section 2.1)."""


class PerceptualDistance(Evaluator):
    """Mean over test images of LPIPS (Zhang et al. 2018, eq. 1, version 0.1) to their reconstructions."""

    def __init__(self, settings: LpipsSettings) -> None:
        self.settings = settings

    def evaluate(self, context: EvaluationContext) -> Iterable[Score]:
        side, net = context.dataset.size, self.settings.net
        check_size(side, net)
        real, _ = next(context.reconstructions(SPLIT))  # a model that can't reconstruct costs no download
        lpips = load_lpips(net, self.settings.weights)
        yield mean_score(
            context,
            "lpips",
            "lower",
            measured(context, Distances(lpips.network, real.device)),
            {"pixel_range": "[-1, 1]", **lpips.facts},
            warnings=unsuited(side, context.dataset.channels),
        )


class Distances:
    """LPIPS of pairs of images, a few at a time."""

    def __init__(self, network: nn.Module, device: torch.device) -> None:
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


def unsuited(side: int, channels: int) -> tuple[str, ...]:
    """Warn where images are not what people judged: smaller than their patches, or grey."""
    found = [f"{side} px"] if side < PATCH else []
    found += ["grey"] if channels == 1 else []
    if not found:
        return ()
    return (f"LPIPS was fitted to judgements of {PATCH} px patches in colour; these are {' and '.join(found)}",)
