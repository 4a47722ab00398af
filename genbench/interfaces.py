"""What a plugin author subclasses: `Model`, `Similarity`, `Evaluator`, `Dataset`.

Images are float tensors (N, C, H, W) in [-1, 1] inside and uint8 at rest. Latents are (N, latent_size), with the prior
N(0, I).
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from genbench.errors import NotApplicable
from genbench.train.gradients import Gradients, Losses, route
from genbench.train.sharing import Share

if TYPE_CHECKING:
    from genbench.evaluate.context import EvaluationContext
    from genbench.networks import Blueprint
    from genbench.records import Check, Scalar, Score, Sheet

__all__ = [
    "Batch",
    "DataRequest",
    "Dataset",
    "Evaluator",
    "Gradients",
    "ImageSet",
    "Losses",
    "Model",
    "Posterior",
    "Share",
    "Similarity",
    "View",
]


@dataclass(frozen=True)
class Batch:
    """One batch of training images.

    Attributes:
        images: (N, C, H, W) in [-1, 1].
        attributes: (N, A) in {0, 1}, or None where the data set has none.
        images_seen: how many training images the run has seen before this batch.
        share: which part of the whole batch this is, where several processes train together.
    """

    images: Tensor
    attributes: Tensor | None = None
    images_seen: int = 0
    share: Share = field(default_factory=Share)

    def noise(self, size: int) -> Tensor:
        """Draw (N, size) from N(0, I), the same for each image however many processes share the batch."""
        return self.share.noise(len(self.images), size, self.images.device)


@dataclass(frozen=True)
class View:
    """One batch as a similarity sees it.

    Attributes:
        images: (N, C, H, W) in [-1, 1].
        features: the discriminator's activations by layer, each (N, ...); empty where the model has no discriminator.
    """

    images: Tensor
    features: Mapping[str, Tensor] = field(default_factory=dict)


class Posterior(NamedTuple):
    """q(z|x), a Gaussian with diagonal covariance; both (N, latent_size)."""

    mean: Tensor
    log_variance: Tensor

    def sample(self, noise: Tensor | None = None) -> Tensor:
        """Draw z = μ + σ·ε, differentiable in μ and σ (Kingma & Welling 2014, section 2.4).

        Args:
            noise: ε, (N, latent_size); give `batch.noise(latent_size)`, and several processes draw what one would.
        """
        return self.mean + (0.5 * self.log_variance).exp() * (torch.randn_like(self.mean) if noise is None else noise)

    def kl(self) -> Tensor:
        """Return KL(q(z|x) ‖ N(0, I)) in nats, (N,) (Kingma & Welling 2014, appendix B)."""
        return -0.5 * (1 + self.log_variance - self.mean.square() - self.log_variance.exp()).sum(1)


class Similarity(nn.Module, ABC):
    """A measure of how likely real images are, given reconstructions of them.

    Built with its settings as the one argument where its spec names any, else without arguments.

    Attributes:
        facts: what can move its value beside its settings, such as the hash of a network's weights; recorded.
        surrogate: why its gradient is not that of its value, where that is so on purpose; else empty.
    """

    facts: Mapping[str, "Scalar"] = MappingProxyType({})
    surrogate: str = ""

    @abstractmethod
    def forward(self, real: View, fake: View) -> Tensor:
        """Return the negative log-likelihood of each real image given its reconstruction.

        Shape (N,), in nats up to a constant.
        """


class Model(nn.Module, ABC):
    """A generative model, built as `Model(blueprint, settings)`, or `Model(blueprint)` where its spec has no settings.

    A subclass gives `networks` and `losses`; the rest follows where its networks are named `encoder` and `decoder`.

    Draw noise with `batch.noise`, or with torch's default generator: the training loop seeds it by (seed, images seen)
    before every step, which is what makes a run reproducible and resumable.

    Attributes:
        networks: one optimiser each; keys as in `losses`.
        similarity: the run's similarity, already weighted, where the model reconstructs; else None.
        similarity_from: how many images must have been seen before the similarity counts; an automatic
            weight is measured then.
    """

    networks: nn.ModuleDict
    similarity: Similarity | None
    similarity_from: int = 0

    def __init__(self, blueprint: "Blueprint") -> None:
        super().__init__()
        self.blueprint = blueprint
        self.similarity = blueprint.similarity

    @abstractmethod
    def losses(self, batch: Batch) -> Losses:
        """Return, for each network, the scalar that it alone minimises."""

    def terms(self, batch: Batch) -> Mapping[str, Tensor]:
        """Return the weighted parts of the decoder's loss by name, `similarity` and `gan`, for health checks.

        Scalars that add up to that loss; nothing, where the decoder's loss has but one part.
        """
        return {}

    def gradients(self, batch: Batch) -> Gradients:
        """Return each network's gradient; override only to be faster, with a test that the result equals this one."""
        return route(dict(self.networks.items()), self.losses(batch))

    def phase(self, images_seen: int) -> str | None:
        """Name the part of training that a step belongs to, or None where steps may differ in any way.

        On CUDA the steps of one phase are captured once and replayed. So name it only where they all take the same
        path through Python, never read a tensor's value, and use `batch.images_seen` for nothing but the phase.
        """
        return None

    def encode(self, batch: Batch) -> Posterior:
        """Return q(z|x) of each image: what the network `encoder` says of it.

        Raises:
            NotApplicable: the model has no encoder.
        """
        if "encoder" not in self.networks:
            raise NotApplicable(f"{type(self).__name__} has no encoder")
        posterior: Posterior = self.networks["encoder"](batch.images)
        return posterior

    def decode(self, latents: Tensor, attributes: Tensor | None = None) -> Tensor:
        """Return images (N, C, H, W) in [-1, 1] for latents (N, latent_size): what the network `decoder` makes."""
        images: Tensor = self.networks["decoder"](latents)
        return images

    def features(self, images: Tensor) -> Mapping[str, Tensor]:
        """Return what a similarity may compare beside pixels; nothing, where the model has no discriminator."""
        return {}

    def views(self, batch: Batch) -> tuple[View, View]:
        """Return a batch and its reconstruction as the similarity sees them.

        The reconstruction's images are a leaf that requires grad.
        """
        posterior = self.encode(batch)
        latents = posterior.sample(batch.noise(posterior.mean.shape[1]))
        reconstruction = self.decode(latents).detach().requires_grad_()
        return View(batch.images, self.features(batch.images)), View(reconstruction, self.features(reconstruction))


class Evaluator(ABC):
    """A family of scores, built with its settings as the one argument where its spec names any, else without."""

    @abstractmethod
    def evaluate(self, context: "EvaluationContext") -> Iterable["Score | Check | Sheet"]:
        """Yield scores, and where there are any, signs of health and tables; do no I/O and pick no device.

        Raises:
            NotApplicable: the scores make no sense for this model or data set, or need what can't be had;
                recorded as skipped.
        """


@dataclass(frozen=True)
class DataRequest:
    """What a data set is asked to prepare.

    Attributes:
        source: the folder or archive that the user named (`--data`, else `GENBENCH_DATA`), or None.
        downloads: a folder in genbench's cache where a download may put files and may find earlier ones.
        size: side of the prepared images in pixels.
        skip_bad_images: whether an unreadable image is skipped and counted instead of being an error.
        progress: called with (images done, images in all), from any thread.
        allocate: returns an array of a shape, to be filled with the images; what genbench's `prepare` gives lies on
            the disk, so that sets larger than the memory can be prepared.
    """

    source: Path | None
    downloads: Path
    size: int
    skip_bad_images: bool = False
    progress: Callable[[int, int], None] = lambda _done, _total: None
    allocate: Callable[[tuple[int, ...]], npt.NDArray[np.uint8]] = lambda shape: np.empty(shape, np.uint8)


@dataclass(frozen=True)
class ImageSet:
    """A prepared data set.

    Attributes:
        images: (N, H, W, C) uint8.
        splits: (N,) uint8: 0 train, 1 validation, 2 test.
        attributes: (N, A) uint8 in {0, 1}, or None.
        attribute_names: A names.
        notes: what a reader of any score on this set must know.
        skipped_images: names of unreadable images that were left out.
    """

    images: npt.NDArray[np.uint8]
    splits: npt.NDArray[np.uint8]
    attributes: npt.NDArray[np.uint8] | None = None
    attribute_names: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    skipped_images: tuple[str, ...] = ()


class Dataset(ABC):
    """A set of images, built with its settings as the one argument where its spec names any, else without.

    Attributes:
        version: raised whenever `prepare` gives other images for the same files.
    """

    version: int = 1

    def files(self, request: DataRequest) -> Sequence[Path]:
        """Return the files that `prepare` would read; a generated data set has none. Downloads what has to be.

        Their sizes and times tell whether an earlier preparation still holds. A folder stands for all files in it but
        hidden ones, and not for those in folders below it: return it where they are very many.

        Raises:
            GenbenchError: files are missing; says which, and where to put them.
        """
        return ()

    @abstractmethod
    def prepare(self, request: DataRequest) -> ImageSet:
        """Return all images at the requested size, in an order that depends on the content alone."""

    def counterfactuals(self, indices: npt.NDArray[np.int64], attribute: str, size: int) -> npt.NDArray[np.uint8]:
        """Return what some images would truly look like with one attribute flipped and all else equal, (n, H, W, C).

        Only a data set that knows how its images came about can tell. Where a flip does not show, its image is the
        prepared one, byte for byte.

        Args:
            indices: (n,), places in what `prepare` returns.
            attribute: one of its attributes' names.
            size: side of the images in pixels, as `prepare` was asked for.

        Raises:
            NotApplicable: the data set has no counterfactuals.
            GenbenchError: there is no such attribute.
        """
        raise NotApplicable("the data set has no counterfactuals")
