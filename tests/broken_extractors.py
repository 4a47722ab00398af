"""Feature extractors that break one promise each, for the tests of the kit."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

import genbench
from genbench.errors import NotApplicable
from genbench.evaluate.extractors import ExtractorRequest


class Sound:
    """Mean colours of a grid of 4 by 4 places; breaks no promise."""

    size, weights_hash = 48, ""

    def __init__(self, request: ExtractorRequest) -> None:
        self.facts: Mapping[str, Any] = {"grid": 4}

    @property
    def name(self) -> str:
        return type(self).__name__.lower()

    def __call__(self, images: Tensor) -> Tensor:
        return adaptive_avg_pool2d(images.expand(-1, 3, -1, -1).float(), 4).flatten(1)

    def warnings(self, side: int, channels: int) -> tuple[str, ...]:
        return ("colours are all that it sees",) if channels == 1 else ()


class Short(Sound):
    size = 49


class Double(Sound):
    def __call__(self, images: Tensor) -> Tensor:
        return super().__call__(images).double()


class Graphed(Sound):
    def __call__(self, images: Tensor) -> Tensor:
        return super().__call__(images) * torch.ones((), requires_grad=True)


class Fitted(Sound):
    """Takes images of up to 64 px."""

    def __call__(self, images: Tensor) -> Tensor:
        return super().__call__(images)[:, : 48 if images.shape[3] <= 64 else 40]


class Colourful(Sound):
    def __call__(self, images: Tensor) -> Tensor:
        assert images.shape[1] == 3
        return super().__call__(images)


class Blind(Sound):
    def __call__(self, images: Tensor) -> Tensor:
        return torch.ones(len(images), 48)


class Normalised(Sound):
    def __call__(self, images: Tensor) -> Tensor:
        found = super().__call__(images)
        return found - 0.1 * found.mean(0)


class Numbered(Sound):
    def __call__(self, images: Tensor) -> Tensor:
        return super().__call__(images) + torch.arange(len(images))[:, None]


class Random(Sound):
    """Has weights that are others each time."""

    def __init__(self, request: ExtractorRequest) -> None:
        super().__init__(request)
        generator = torch.Generator()
        generator.seed()
        self.weights = torch.rand(48, generator=generator)

    def __call__(self, images: Tensor) -> Tensor:
        return super().__call__(images) * self.weights


class Drawing(Sound):
    def __call__(self, images: Tensor) -> Tensor:
        np.random.random()  # noqa: NPY002
        torch.rand(1)
        return super().__call__(images)


class Scribbling(Sound):
    def __call__(self, images: Tensor) -> Tensor:
        return super().__call__(images.bitwise_and_(0xF0))


class Listing(Sound):
    def __init__(self, request: ExtractorRequest) -> None:
        super().__init__(request)
        self.facts = {"grid": [4, 4]}


class Hashless(Sound):
    weights_hash = None  # type: ignore[assignment]


class Talking(Sound):
    def warnings(self, side: int, channels: int) -> tuple[str, ...]:
        return "colours are all that it sees"  # type: ignore[return-value]


class Absent(Sound):
    def __init__(self, request: ExtractorRequest) -> None:
        raise NotApplicable("its weights are not here")


class Plugin:
    """Declares all of them, by the names of their classes."""

    @genbench.hookimpl
    def genbench_extractors(self) -> Iterator[genbench.ExtractorSpec]:
        for name, cls in globals().items():
            if isinstance(cls, type) and issubclass(cls, Sound):
                yield genbench.ExtractorSpec(name.lower(), "", f"{__name__}:{name}")
        yield genbench.ExtractorSpec("many", "", f"{__name__}:Sound", variants=True)
        yield genbench.ExtractorSpec("attributes", "", "genbench.evaluate.extractors.attributes:AttributeFeatures")
