"""What encoders, decoders and discriminators take and give, of whatever architecture."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import accumulate, pairwise
from typing import NamedTuple

from torch import Tensor, nn

from genbench.interfaces import Posterior


class Discrimination(NamedTuple):
    """What a discriminator says: logits (N,), positive for real, and its activations by layer, each (N, ...)."""

    logits: Tensor
    features: Mapping[str, Tensor]


class Features(Mapping[str, Tensor]):
    """Activations by layer, in their order; some are laid out as images only when somebody asks for them."""

    def __init__(self) -> None:
        self._found: dict[str, Tensor | Callable[[], Tensor]] = {}

    def __setitem__(self, layer: str, activation: Tensor) -> None:
        self._found[layer] = activation

    def later(self, layer: str, activation: Callable[[], Tensor]) -> None:
        """Put a layer that is computed when it is asked for."""
        self._found[layer] = activation

    def __getitem__(self, layer: str) -> Tensor:
        found = self._found[layer]
        return found if isinstance(found, Tensor) else found()

    def __iter__(self) -> Iterator[str]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)


class Encoder(nn.Module):
    """Images (N, C, H, W) to q(z|x)."""

    def forward(self, images: Tensor) -> Posterior:
        raise NotImplementedError


class Decoder(nn.Module):
    """Latents (N, latent_size) to images (N, C, H, W) in [-1, 1]."""

    def forward(self, latents: Tensor) -> Tensor:
        raise NotImplementedError


class Discriminator(nn.Module):
    """Images (N, C, H, W) to logits and features."""

    def forward(self, images: Tensor) -> Discrimination:
        raise NotImplementedError


def parted(judged: Discrimination, sizes: Sequence[int]) -> list[Discrimination]:
    """Return what was said of each part of a batch: parts of so many images, in their order.

    An activation is cut when it is asked for.
    """
    found = []
    for begin, end in pairwise(accumulate(sizes, initial=0)):
        features = Features()
        for layer in judged.features:
            features.later(layer, partial(_part, judged.features, layer, slice(begin, end)))
        found.append(Discrimination(judged.logits[begin:end], features))
    return found


def _part(features: Mapping[str, Tensor], layer: str, part: slice) -> Tensor:
    return features[layer][part]
