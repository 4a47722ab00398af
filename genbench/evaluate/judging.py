"""A similarity as a judge of finished models: the same measure for all of them, whatever each was trained with."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from genbench.data.packed import PackedDataset
from genbench.errors import NotApplicable
from genbench.evaluate import referee
from genbench.interfaces import Similarity, View
from genbench.pairing import single, unfit
from genbench.plugins import Plugins
from genbench.records import Scalar
from genbench.resolution import build_part, resolve_settings


@dataclass(frozen=True)
class Features:
    """A discriminator's activations.

    Attributes:
        of: from images (N, C, H, W) in [-1, 1] to the activations by layer, each (N, ...).
        facts: what can move them, for protocols.
    """

    of: Callable[[Tensor], Mapping[str, Tensor]]
    facts: Mapping[str, Scalar]


@dataclass(frozen=True)
class Judge:
    """A similarity with what it needs to look at any two batches of images.

    Attributes:
        features: of a discriminator, that it is shown; None where it looks at none.
        facts: what can move its value, for protocols.
    """

    similarity: Similarity
    features: Features | None = None
    facts: Mapping[str, Scalar] = field(default_factory=dict)

    def __call__(self, real: Tensor, fake: Tensor) -> Tensor:
        """Return the similarity's cost of each pair, (N,), of images (N, C, H, W) in [-1, 1]."""
        cost: Tensor = self.similarity(self._view(real), self._view(fake))
        return cost

    def _view(self, images: Tensor) -> View:
        return View(images) if self.features is None else View(images, self.features.of(images))


def obtain_judge(
    plugins: Plugins,
    name: str,
    dataset: PackedDataset,
    device: torch.device,
    cache: Path,
    given: Mapping[str, Any] | None = None,
    features: Features | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Judge:
    """Build a similarity as a judge of a data set's images.

    Args:
        given: its settings, where they are not the defaults.
        features: that it is shown where it needs any; else those of the data set's reference discriminator, which is
            trained where the cache has none.
        say: is told of that training.

    Raises:
        NotApplicable: it needs other images, or weights that can't be had.
        GenbenchError: there is no such similarity, or it is a mixture.
    """
    spec = single(plugins, name)
    if (obstacle := unfit(spec, dataset.channels, dataset.size)) is not None:
        raise NotApplicable(obstacle.message)  # what a run's images are like can't be mended afterwards
    distribution, version = plugins.origin("similarities", name)
    settings = resolve_settings(plugins, spec, given or {})
    similarity: Similarity = build_part(plugins, spec, settings).to(device).eval()
    facts: dict[str, Scalar] = {"similarity": name, "similarity_plugin": f"{distribution} {version}"}
    facts |= {f"similarity_{key}": value for key, value in {**settings, **similarity.facts}.items()}
    if not spec.needs.discriminator:
        return Judge(similarity, facts=facts)
    shown = features or _reference(dataset, device, cache, say)
    return Judge(similarity, shown, {**facts, **shown.facts})


def _reference(dataset: PackedDataset, device: torch.device, cache: Path, say: Callable[[str], None]) -> Features:
    discriminator, weights = referee.obtain(dataset, device, cache, say)
    return Features(lambda images: discriminator(images).features, referee.facts(weights))
