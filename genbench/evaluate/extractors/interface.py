"""What a feature extractor is, and what it is built from."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from genbench.records import Scalar

GREY = "repeated to three channels"
"""What becomes of grey images, as protocols say it."""

ENLARGED = 4
"""A network made for images of so many times the side, or more, sees little but blur (see `unsuited`)."""


@dataclass(frozen=True)
class ExtractorRequest:
    """What an extractor's target is called with.

    Attributes:
        variant: what the user wrote after the colon, or the declared variant where they wrote none; else empty.
        weights: path of the file with the weights, or empty where they are to be looked for.
        device: where the network is to be, and where the images will be.
    """

    variant: str
    weights: str
    device: torch.device


class Extractor(Protocol):
    """A network that turns images into features.

    Attributes:
        name: the declared name, with the variant where it is not the declared one: `inception`, `torchvision:resnet18`.
        size: of a feature vector.
        weights_hash: SHA-256 of the weights.
        facts: what else of it can move a number, for protocols.
    """

    @property
    def name(self) -> str: ...
    @property
    def size(self) -> int: ...
    @property
    def weights_hash(self) -> str: ...
    @property
    def facts(self) -> Mapping[str, Scalar]: ...

    def __call__(self, images: Tensor) -> Tensor:
        """Return features (N, size) float32 of uint8 images (N, C, H, W), C being 1 or 3."""
        ...

    def warnings(self, side: int, channels: int) -> tuple[str, ...]:
        """Return what a reader of numbers on such images must know of the network, a sentence each."""
        ...


def unsuited(who: str, made_for: int, side: int, channels: int) -> tuple[str, ...]:
    """Warn where images are not what a network of photographs was made for: grey, or less than a quarter of its side.

    Args:
        who: the network, as a sentence begins with it.
        made_for: side of the images that it was trained on, in pixels.
        side: of the images that it is given, in pixels.
        channels: of the images that it is given.
    """
    found = [f"{side} px"] if ENLARGED * side < made_for else []
    found += ["grey"] if channels == 1 else []
    if not found:
        return ()
    return (f"{who} was made for photographs of {made_for} px in colour; these are {' and '.join(found)}",)
