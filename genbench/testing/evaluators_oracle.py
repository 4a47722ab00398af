"""A model whose quality is known, so that scores can be judged by it: a memory of scenes, shown more or less well.

Each scene is drawn with and without two marks, which are its attributes. A latent's first two places tell which marks
there are, and the others which scene: so the oracle reconstructs and edits exactly what it is asked for, and its
samples look like the data. What it shows can be distorted, or be another picture altogether; and its latents can be
such that edits along a vector lead elsewhere.
"""

from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from genbench.config import NetworkConfig
from genbench.distortions import Distortion
from genbench.errors import NotApplicable
from genbench.images import to_float, to_uint8
from genbench.interfaces import Batch, DataRequest, Dataset, ImageSet, Losses, Model, Posterior
from genbench.networks import Blueprint
from genbench.testing.pictures import dead_leaves

SIDE = 32
"""Of a scene in pixels: what most measures take."""

COUNTS = (256, 64, 160)
"""Scenes that train, validate and test: as many as Fréchet distances on the classifier's 128 features need."""

MARKS = ("patch", "bar")
PLACES = 4
"""Places of a latent that tell the scene."""

LATENT = len(MARKS) + PLACES
LOG_VARIANCE = -4.0
"""Of the posteriors, in every place."""


@dataclass(frozen=True)
class Scenes:
    """What the oracle remembers: scenes, and as its variants every scene with every combination of marks.

    Attributes:
        bare: (S, C, SIDE, SIDE) uint8, without marks.
        codes: (S, PLACES), about N(0, I).
        marks: (S, len(MARKS)) bool, those with which a scene is in the data.
        splits: (S,) uint8.
    """

    bare: Tensor
    codes: Tensor
    marks: Tensor
    splits: Tensor

    @cached_property
    def variants(self) -> tuple[Tensor, Tensor]:
        """Return scene (V,) and marks (V, len(MARKS)) of each variant."""
        combinations = torch.cartesian_prod(*[torch.tensor([False, True])] * len(MARKS))
        scenes = torch.arange(len(self.codes)).repeat_interleave(len(combinations))
        return scenes, combinations.repeat(len(self.codes), 1)

    @cached_property
    def draws(self) -> Tensor:
        """Return for each variant numbers drawn from [0, 1): when it goes astray, and where to."""
        return torch.rand(len(self.variants[0]), 2, generator=torch.Generator().manual_seed(4))

    @cached_property
    def _keys(self) -> tuple[Tensor, Tensor]:
        """Return what tells the variants' images apart, in order, and which variants they are."""
        keys, order = _key(self.images(*self.variants)).sort()
        return keys, order

    def latents(self, warped: float) -> Tensor:
        """Return the variants' latents (V, LATENT).

        Args:
            warped: how far a mark moves the code of its scene, each scene's to a side of its own: no vector does that.
        """
        scenes, marks = self.variants
        signs = 2.0 * marks - 1
        sides = torch.randint(2, (len(self.codes), len(MARKS)), generator=torch.Generator().manual_seed(6)) * 2 - 1
        codes = self.codes[scenes].clone()
        codes[:, : len(MARKS)] += warped * sides[scenes] * signs
        return torch.cat([signs, codes], 1)

    def recognised(self, images: Tensor) -> Tensor:
        """Return the variants (N,) that images, uint8 (N, C, SIDE, SIDE), are or are nearest to."""
        keys, order = self._keys
        wanted = _key(images)
        place = torch.searchsorted(keys, wanted).clamp(max=len(keys) - 1)
        found, strange = order[place], keys[place] != wanted
        if strange.any():
            known = self.images(*self.variants).flatten(1).float()
            found[strange] = torch.cdist(images[strange].flatten(1).float(), known).argmin(1)
        return found

    def led_astray(self, variants: Tensor, share: float) -> Tensor:
        """Return variants (N,), in place of a share of them other ones, always the same."""
        lost, where = self.draws[variants].unbind(1)
        return torch.where(lost < share, (where * len(self.draws)).long(), variants)

    def images(self, scenes: Tensor, marks: Tensor) -> Tensor:
        """Return scenes (N,) with marks (N, len(MARKS)), uint8 (N, C, SIDE, SIDE)."""
        images = self.bare[scenes]
        quarter, eighth = SIDE // 4, SIDE // 8
        patch, bar = (shown[:, None, None, None] for shown in marks.unbind(1))
        corner, stripe = images[..., eighth : eighth + quarter, eighth : eighth + quarter], images[..., -eighth:, :]
        corner.copy_(torch.where(patch, 235, corner))
        stripe.copy_(torch.where(bar, 20, stripe))
        return images


@cache
def scenes(channels: int, counts: tuple[int, int, int] = COUNTS) -> Scenes:
    """Draw scenes; always the same.

    Each combination of marks is as frequent as another in the training split and has the same mean code there, so that
    the vector of an attribute points at nothing but its mark.
    """
    total = sum(counts)
    codes = torch.randn(total, PLACES, generator=torch.Generator().manual_seed(3))
    cells = torch.arange(total) % 2 ** len(MARKS)
    for cell in cells.unique():
        own = (cells == cell) & (torch.arange(total) < counts[0])
        codes[own] -= codes[own].mean(0)
    marks = torch.stack([cells // 2**k % 2 == 1 for k in range(len(MARKS))], 1)
    splits = torch.repeat_interleave(torch.arange(3), torch.tensor(counts)).to(torch.uint8)
    return Scenes(to_uint8(dead_leaves(total, channels, SIDE, seed=3)), codes, marks, splits)


class Remembered(Dataset):
    """Scenes as a data set; it knows each with a mark put there or taken away.

    Args:
        places: the scenes that are in it, in their order.
    """

    def __init__(self, scenes: Scenes, places: Tensor) -> None:
        self.scenes = scenes
        self.places = places

    def prepare(self, request: DataRequest) -> ImageSet:
        marks, splits = self.scenes.marks[self.places], self.scenes.splits[self.places]
        images = self.scenes.images(self.places, marks)
        return ImageSet(_at_rest(images), splits.numpy(), marks.numpy().astype(np.uint8), MARKS)

    def counterfactuals(self, indices: npt.NDArray[np.int64], attribute: str, size: int) -> npt.NDArray[np.uint8]:
        chosen = self.places[torch.from_numpy(indices)]
        marks = self.scenes.marks[chosen]
        marks[:, MARKS.index(attribute)] ^= True
        return _at_rest(self.scenes.images(chosen, marks))


@dataclass(frozen=True)
class Grade:
    """How well the oracle shows what it is asked for.

    Attributes:
        distortion: of every picture, at a strength; None for none.
        astray: share of the variants in whose place another one is shown.
        warped: how little its latents are made for edits along vectors.
    """

    distortion: Distortion | None = None
    strength: float = 0.0
    astray: float = 0.0
    warped: float = 0.0


class Oracle(Model):
    """The memory as a model.

    Args:
        encodes: whether it has an encoder.
    """

    def __init__(self, scenes: Scenes, grade: Grade, *, encodes: bool = True) -> None:
        network = NetworkConfig(latent_size=LATENT)
        super().__init__(Blueprint(scenes.bare.shape[1], SIDE, network, images=1, seed=0, attribute_names=MARKS))
        self.networks = torch.nn.ModuleDict()
        self.scenes = scenes
        self.grade = grade
        self.encodes = encodes
        self.latents = scenes.latents(grade.warped)

    def losses(self, batch: Batch) -> Losses:
        return Losses({})

    def encode(self, batch: Batch) -> Posterior:
        if not self.encodes:
            raise NotApplicable("this oracle has no encoder")
        mean = self.latents[self.scenes.recognised(to_uint8(batch.images).cpu())].to(batch.images)
        return Posterior(mean, torch.full_like(mean, LOG_VARIANCE))

    def decode(self, latents: Tensor, attributes: Tensor | None = None) -> Tensor:
        nearest = torch.cdist(latents.cpu(), self.latents).argmin(1)
        chosen, marks = (each[self.scenes.led_astray(nearest, self.grade.astray)] for each in self.scenes.variants)
        images = to_float(self.scenes.images(chosen, marks)).to(latents.device)
        return self.grade.distortion.apply(images, self.grade.strength) if self.grade.distortion else images


def _key(images: Tensor) -> Tensor:
    """Return a number for each uint8 image (N, C, H, W), (N,) int64: other images have others, but for bad luck."""
    pixels = images.flatten(1).long()
    factors = torch.randint(2**62, (pixels.shape[1],), generator=torch.Generator().manual_seed(5))
    return (pixels * factors).sum(1)  # modulo 2^64


def _at_rest(images: Tensor) -> npt.NDArray[np.uint8]:
    return images.permute(0, 2, 3, 1).contiguous().numpy()
