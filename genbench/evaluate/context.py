"""`EvaluationContext`: all that evaluators see of a trained model and its data.

Everything is computed in eval mode, without gradients, in float32 and from seeds of its own: no score depends on the
batch size or on which other evaluators ran before it.
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from genbench.config import RunConfig
from genbench.data.packed import PackedDataset, Split
from genbench.errors import GenbenchError, NotApplicable
from genbench.evaluate import classifier, reference
from genbench.evaluate.classifier import AttributeClassifier
from genbench.evaluate.extractors import AttributeFeatures, Extractor, Inception, inception_weights
from genbench.evaluate.keeping import Kept
from genbench.evaluate.moments import Moments, measure
from genbench.images import to_float, to_uint8
from genbench.interfaces import Batch, Model
from genbench.networks import seeded
from genbench.randomness import derive
from genbench.records import Scalar

Subject = tuple[Literal["real"], Split] | tuple[Literal["reconstructions"], Split] | tuple[Literal["samples"], int]
"""A set of images: real ones of a split, their reconstructions, or so many samples."""

NOISE_BLOCK = 1024
"""Latents drawn from one generator; the k-th sample is the same however many are asked for."""

KEPT_BYTES = 2**27
"""Samples that an evaluator asks for are kept for the next while they fit in so much memory of the device, and each
split's latents likewise. What is asked for moments alone keeps nothing: its memory is the same for any number."""

PRECISION = "float32"


class EvaluationContext:
    """A trained model, its data, and what can be measured on both.

    Args:
        model: put on the device and into eval mode.
        dataset: what the model was trained on.
        config: of the run.
        device: where everything is computed.
        cache: folder for classifiers and reference statistics, shared by runs.
        batch_size: images computed at a time; moves no score beyond rounding.
    """

    def __init__(
        self,
        model: Model,
        dataset: PackedDataset,
        config: RunConfig,
        device: torch.device,
        cache: Path,
        batch_size: int = 256,
    ) -> None:
        self.model = model.to(device).eval()
        self.dataset = dataset
        self.config = config
        self.device = device
        self.attribute_names = dataset.attribute_names
        self._cache = cache
        self.batch_size = batch_size
        self._samples = Kept(KEPT_BYTES)
        self._latents: dict[Split, Kept] = {}
        self._extractors: dict[tuple[str, str], Extractor] = {}
        self._moments: dict[tuple[object, ...], Moments] = {}
        self._classifier: AttributeClassifier | None = None

    def protocol(self, **facts: Scalar) -> dict[str, Scalar]:
        """Return a score's protocol: these facts and what holds for all scores of this context."""
        return {"precision": PRECISION, **facts}

    def seed(self, *purpose: str | int) -> int:
        """Return a seed of the run's for one purpose, such as a bootstrap."""
        return derive(self.config.seed, "evaluate", *purpose)

    def count(self, split: Split) -> int:
        """Return how many real images a split has."""
        return len(self.dataset.indices(split))

    def real(self, split: Split, limit: int | None = None) -> Iterator[Tensor]:
        """Yield batches of real images, uint8 (N, C, H, W), in the order of the data set.

        Raises:
            NotApplicable: the split is empty.
        """
        for _, images in self._real(split, limit):
            yield images

    def attributes(self, split: Split) -> Tensor:
        """Return the labels of a split, uint8 (N, A) in {0, 1}, on the CPU.

        Raises:
            NotApplicable: the data set has none.
        """
        if self.dataset.attributes is None:
            raise NotApplicable(f"data set `{self.dataset.name}` has no attributes")
        return torch.from_numpy(self.dataset.attributes[self.dataset.indices(split)])

    def prior(self, count: int, purpose: str = "samples") -> Tensor:
        """Return latents (count, latent_size) from N(0, I), on the CPU; each purpose has latents of its own."""
        blocks = [self._noise(purpose, block) for block in range(-(-count // NOISE_BLOCK))]
        return torch.cat(blocks)[:count]

    def samples(self, count: int) -> Iterator[Tensor]:
        """Return batches of images decoded from the prior, uint8 (N, C, H, W); the same for every evaluator."""
        return self._sample(count, keep=True)

    def latents(self, split: Split) -> Tensor:
        """Return the posterior means (N, latent_size) of a split's images, float32 on the CPU.

        Raises:
            NotApplicable: the model has no encoder, or the split is empty.
        """
        return torch.cat([mean for _, _, mean in self._encoded(split, keep=True)]).cpu()

    def reconstructions(self, split: Split) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield batches of real images and what is decoded from their posterior means, (N, C, H, W) in [-1, 1].

        Raises:
            NotApplicable: the model has no encoder, or the split is empty.
        """
        for start, real, mean in self._encoded(split, keep=False):
            yield to_float(real), self._decode(mean, start)

    def decode(self, latents: Tensor) -> Tensor:
        """Return images (N, C, H, W) in [-1, 1] for latents (N, latent_size), on the device.

        What the decoder gives beyond [-1, 1] is clamped, as in any image.

        Raises:
            GenbenchError: the model gives images of another shape, or values that are not finite.
        """
        return self._decode_all(latents, 0)

    def classifier(self) -> AttributeClassifier:
        """Return the data set's attribute classifier, training it where no run has yet.

        Raises:
            NotApplicable: the data set has no attributes, or none that can be learned.
        """
        if self._classifier is None:
            self._classifier = classifier.obtain(self.dataset, self.device, self._cache)
        return self._classifier

    def extractor(self, name: Literal["inception", "attributes"], weights: str = "") -> Extractor:
        """Return a feature extractor; `weights` is the path of Inception's, where it is not to be looked for.

        Raises:
            NotApplicable: its weights can't be had, or the data set has no attributes.
            GenbenchError: the weights are unfit.
        """
        key = (name, weights)
        if key not in self._extractors:
            if name == "inception":
                self._extractors[key] = Inception.load(inception_weights(weights), self.device)
            else:
                self._extractors[key] = AttributeFeatures(self.classifier())
        return self._extractors[key]

    def moments(self, extractor: Extractor, subject: Subject) -> Moments:
        """Return the moments of an extractor's features: one pass for all metrics, for real images one for all runs.

        Raises:
            NotApplicable: as `real`, `reconstructions` and `samples` do.
            GenbenchError: the model gives images, or the extractor features, that are not finite.
        """
        key = (extractor.name, extractor.weights_hash, *sorted(extractor.facts.items()), subject)
        if key not in self._moments:
            self._moments[key] = self._measure(extractor, subject)
        return self._moments[key]

    def _measure(self, extractor: Extractor, subject: Subject) -> Moments:
        if subject[0] == "samples":
            return measure(extractor(images) for images in self._sample(subject[1], keep=False))
        if subject[0] == "reconstructions":
            return measure(extractor(to_uint8(fake)) for _, fake in self.reconstructions(subject[1]))
        split = subject[1]
        path = reference.place(self._cache, self.dataset, split, extractor, self.device, PRECISION)
        return reference.obtain(path, lambda: measure(extractor(images) for images in self.real(split)))

    def _real(self, split: Split, limit: int | None = None) -> Iterator[tuple[int, Tensor]]:
        indices = self.dataset.indices(split)[:limit]
        if not len(indices):
            raise NotApplicable(f"data set `{self.dataset.name}` has no images in its {split} split")
        for start in range(0, len(indices), self.batch_size):
            images = torch.from_numpy(self.dataset.images[indices[start : start + self.batch_size]])
            yield start, images.to(self.device).permute(0, 3, 1, 2).contiguous()

    def _noise(self, purpose: str, block: int) -> Tensor:
        generator = torch.Generator().manual_seed(self.seed(purpose, block))
        return torch.randn(NOISE_BLOCK, self.config.network.latent_size, generator=generator)

    def _sample(self, count: int, *, keep: bool) -> Iterator[Tensor]:
        """Yield batches of samples; computed are whole ones, however few are asked for."""
        for block, first in enumerate(range(0, count, NOISE_BLOCK)):
            noise = self._noise("samples", block)
            for place in range(first, min(first + NOISE_BLOCK, count), self.batch_size):
                latents = noise[place - first : place - first + self.batch_size]
                images = self._samples.get(place, partial(self._decode_to_uint8, latents, place), keep=keep)
                yield images[: count - place]

    def _encoded(self, split: Split, *, keep: bool) -> Iterator[tuple[int, Tensor, Tensor]]:
        """Yield the place of a batch's first image, the images, uint8, and the means of their posteriors."""
        kept = self._latents.setdefault(split, Kept(KEPT_BYTES))
        for start, real in self._real(split):
            yield start, real, kept.get(start, partial(self._encode, start, real), keep=keep)

    def _decode_to_uint8(self, latents: Tensor, place: int) -> Tensor:
        return to_uint8(self._decode(latents, place))

    def _decode_all(self, latents: Tensor, place: int) -> Tensor:
        """Decode in batches; `place` is that of the first among all that belong together."""
        starts = range(0, len(latents), self.batch_size)
        return torch.cat([self._decode(latents[start : start + self.batch_size], place + start) for start in starts])

    @torch.no_grad()
    def _encode(self, start: int, images: Tensor) -> Tensor:
        with seeded(self.seed("encode", start)):  # a model may draw noise
            mean: Tensor = self.model.encode(Batch(to_float(images))).mean
        expected = (len(images), self.config.network.latent_size)
        if mean.shape != expected:
            raise GenbenchError(f"the model encodes to {tuple(mean.shape)}, expected {expected}")
        if not mean.isfinite().all():
            raise GenbenchError("the model encodes images to means that are not finite", "did its training diverge?")
        return mean.contiguous()

    @torch.no_grad()
    def _decode(self, latents: Tensor, start: int) -> Tensor:
        with seeded(self.seed("decode", start)):
            images = self.model.decode(latents.to(self.device))
        expected = (len(latents), self.dataset.channels, self.dataset.size, self.dataset.size)
        if images.shape != expected:
            raise GenbenchError(f"the model decodes to {tuple(images.shape)}, expected {expected}")
        if not images.isfinite().all():
            raise GenbenchError("the model decodes to images that are not finite", "did its training diverge?")
        return images.clamp(-1, 1)
