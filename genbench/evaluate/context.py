"""`EvaluationContext`: all that evaluators see of a trained model and its data.

Everything is computed in eval mode, without gradients, in float32 and from seeds of its own: no score depends on the
batch size or on which other evaluators ran before it.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import torch
from torch import Tensor

from genbench.config import RunConfig, SamplingConfig
from genbench.data.packed import PackedDataset, Split
from genbench.errors import GenbenchError, NotApplicable
from genbench.evaluate import classifier
from genbench.evaluate.classifier import AttributeClassifier
from genbench.evaluate.extractors import AttributeFeatures, Extractor, obtain_extractor
from genbench.evaluate.generation import Generation
from genbench.evaluate.judging import Judge, obtain_judge
from genbench.evaluate.measuring import PRECISION, Measuring
from genbench.evaluate.moments import Moments
from genbench.evaluate.samplers import FITTED_TO, LIBRARY
from genbench.evaluate.subjects import Real, Reconstructed, Sampled, Subject
from genbench.images import to_float, to_uint8
from genbench.interfaces import Dataset, Model, Posterior
from genbench.plugins import Plugins
from genbench.records import Scalar


class EvaluationContext:
    """A trained model, its data, and what can be measured on both.

    Args:
        model: put on the device and into eval mode.
        dataset: what the model was trained on.
        config: of the run.
        device: where everything is computed.
        cache: folder for classifiers and reference statistics, shared by runs.
        batch_size: images computed at a time; moves no score beyond rounding.
        plugins: where extractors are looked up.
        source: what the data was prepared by, where it knows more than the prepared images.
        curve: rows of the training curve.
        say: is told what takes minutes, and happens once for a data set.

    Attributes:
        sampling: how many samples the evaluator that runs now is to look at, and where their latents come from.
        curve: as given; each row has `images_seen` and what the model logs.
    """

    def __init__(
        self,
        model: Model,
        dataset: PackedDataset,
        config: RunConfig,
        device: torch.device,
        cache: Path,
        batch_size: int = 256,
        *,
        plugins: Plugins | None = None,
        source: Dataset | None = None,
        curve: Sequence[Mapping[str, float]] = (),
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._generation = Generation(model, dataset, config, device, batch_size)
        self._measuring = Measuring(dataset, device, cache, self._images)
        self.model = self._generation.model
        self.dataset = dataset
        self.config = config
        self.device = device
        self.batch_size = batch_size
        self.attribute_names = dataset.attribute_names
        self.sampling = SamplingConfig()
        self.curve = tuple(curve)
        self._cache = cache
        self._plugins = plugins
        self._source = source
        self._say = say
        self._extractors: dict[tuple[str, str], Extractor] = {}
        self._classifier: AttributeClassifier | None = None

    @contextmanager
    def given(self, sampling: SamplingConfig) -> Iterator[None]:
        """Let evaluators see other samples for a while."""
        before, self.sampling = self.sampling, sampling
        try:
            yield
        finally:
            self.sampling = before

    def protocol(self, **facts: Scalar) -> dict[str, Scalar]:
        """Return a score's protocol: these facts and what holds for all scores of this context."""
        return {"precision": PRECISION, **facts}

    def facts(self, subject: Subject) -> dict[str, Scalar]:
        """Return what a protocol says of a set of images."""
        if isinstance(subject, Real):
            return {"split": subject.split, "real_images": self.count(subject.split)}
        if isinstance(subject, Reconstructed):
            count = self.count(subject.split)
            return {"generated": "reconstructions", "generated_images": count, "latents": "posterior mean"}
        mixture: dict[str, Scalar] = {}
        if subject.sampler == "gmm":
            library = f"{LIBRARY} {version(LIBRARY)}"
            mixture = {"gmm_components": subject.gmm_components, "gmm_fitted_to": FITTED_TO, "gmm_library": library}
        return {"generated": "samples", "generated_images": subject.count, "sampler": subject.sampler, **mixture}

    def warnings(self, subject: Subject) -> tuple[str, ...]:
        """Return what a reader of numbers on a set of images must know, a sentence each."""
        if not isinstance(subject, Sampled) or subject.sampler != "gmm":
            return ()
        if self._generation.mixture(subject.gmm_components).converged:
            return ()
        return ("the fit of the Gaussian mixture did not converge: another seed of it may give other samples",)

    def seed(self, *purpose: str | int) -> int:
        """Return a seed of the run's for one purpose, such as a bootstrap."""
        return self._generation.seed(*purpose)

    def count(self, split: Split) -> int:
        """Return how many real images a split has."""
        return len(self.dataset.indices(split))

    def real(self, split: Split, limit: int | None = None) -> Iterator[Tensor]:
        """Yield batches of real images, uint8 (N, C, H, W), in the order of the data set.

        Raises:
            NotApplicable: the split is empty.
        """
        for _, images in self._generation.real(split, limit):
            yield images

    def attributes(self, split: Split) -> Tensor:
        """Return the labels of a split, uint8 (N, A) in {0, 1}, on the CPU.

        Raises:
            NotApplicable: the data set has none.
        """
        if self.dataset.attributes is None:
            raise NotApplicable(f"data set `{self.dataset.name}` has no attributes")
        return torch.from_numpy(self.dataset.attributes[self.dataset.indices(split)])

    def counterfactuals(self, split: Split, attribute: str, limit: int | None = None) -> Tensor:
        """Return what a split's first images truly look like with one attribute flipped, uint8 (N, C, H, W) on the CPU.

        Raises:
            NotApplicable: the data set can't tell.
        """
        if self._source is None:
            raise NotApplicable(f"data set `{self.dataset.name}` has no counterfactuals")
        indices = self.dataset.indices(split)[:limit]
        images = torch.from_numpy(self._source.counterfactuals(indices, attribute, self.dataset.size))
        return images.permute(0, 3, 1, 2).contiguous()

    def prior(self, count: int, purpose: str = "samples") -> Tensor:
        """Return latents (count, latent_size) from N(0, I), on the CPU; each purpose has latents of its own."""
        return self._generation.prior(count, purpose)

    def sampled(self, count: int | None = None) -> Sampled:
        """Return the samples that the evaluator that runs now is to look at, or so many of their kind."""
        return Sampled.of(self.sampling, count)

    def sample_latents(self, count: int, purpose: str = "samples") -> Tensor:
        """Return latents (count, latent_size) from the sampler in use, on the CPU; as `prior` for each purpose.

        Raises:
            NotApplicable: the sampler is fitted to encoded images, and the model has no encoder.
        """
        return self._generation.latents(self.sampled(count), purpose)

    def samples(self, count: int) -> Iterator[Tensor]:
        """Return batches of images decoded from the sampler's latents, uint8 (N, C, H, W); the same for all evaluators.

        Raises:
            NotApplicable: as `sample_latents` does.
        """
        return self._generation.samples(self.sampled(count), keep=True)

    def posteriors(self, split: Split) -> Posterior:
        """Return the posteriors of a split's images, each part (N, latent_size) float32 on the CPU.

        Raises:
            NotApplicable: the model has no encoder, or the split is empty.
        """
        return self._generation.posteriors(split)

    def latents(self, split: Split) -> Tensor:
        """Return the means of the posteriors, (N, latent_size) float32 on the CPU; raises as `posteriors` does."""
        return self.posteriors(split).mean

    def reconstructions(self, split: Split) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield batches of real images and what is decoded from their posterior means, (N, C, H, W) in [-1, 1].

        Raises:
            NotApplicable: the model has no encoder, or the split is empty.
        """
        for start, real, posterior in self._generation.encoded(split, keep=False):
            yield to_float(real), self._generation.decode(posterior.mean, start)

    def encode(self, images: Tensor) -> Posterior:
        """Return the posteriors of images of any origin, uint8 (N, C, H, W); each part (N, latent_size) on the CPU.

        Raises:
            NotApplicable: the model has no encoder.
        """
        return self._generation.encode_all(images)

    def decode(self, latents: Tensor) -> Tensor:
        """Return images (N, C, H, W) in [-1, 1] for latents (N, latent_size), on the device.

        What the decoder gives beyond [-1, 1] is clamped, as in any image.

        Raises:
            GenbenchError: the model gives images of another shape, or values that are not finite.
        """
        return self._generation.decode_all(latents, 0)

    def classifier(self) -> AttributeClassifier:
        """Return the data set's attribute classifier, training it where no run has yet.

        Raises:
            NotApplicable: the data set has no attributes, or none that can be learned.
        """
        if self._classifier is None:
            self._classifier = classifier.obtain(self.dataset, self.device, self._cache, self._say)
        return self._classifier

    def extractor(self, name: str, weights: str = "") -> Extractor:
        """Return a feature extractor, by the name that `genbench list extractors` tells, or `attributes`.

        Args:
            name: such as `inception` or `torchvision:resnet18`.
            weights: the path of its weights, where they are not to be looked for.

        Raises:
            NotApplicable: its weights can't be had, or the data set has no attributes.
            GenbenchError: the weights are unfit, or there is no such extractor.
        """
        key = (name, weights)
        if key not in self._extractors:
            self._extractors[key] = self._obtain(name, weights)
        return self._extractors[key]

    def judge(self, similarity: str) -> Judge:
        """Return a similarity, with its settings' defaults, as a measure of any reconstructions.

        One that needs a discriminator gets the data set's reference discriminator, which is trained where no run has
        needed it yet.

        Raises:
            NotApplicable: it needs other images than these, or weights that can't be had.
            GenbenchError: there is no such similarity.
        """
        if self._plugins is None:
            raise GenbenchError(f"similarity `{similarity}` can't be looked up without plugins")
        return obtain_judge(self._plugins, similarity, self.dataset, self.device, self._cache, say=self._say)

    def moments(self, extractor: Extractor, subject: Subject) -> Moments:
        """Return the moments of an extractor's features of a set of images.

        Raises:
            NotApplicable: as `real`, `reconstructions` and `samples` do.
            GenbenchError: the model gives images, or the extractor features, that are not finite.
        """
        return self._measuring.moments(extractor, subject)

    def features(self, extractor: Extractor, subject: Subject, limit: int | None = None) -> Tensor:
        """Return an extractor's features (N, F), float32 on the CPU, of a set's first images; raises as `moments`."""
        return self._measuring.features(extractor, subject, limit)

    def _obtain(self, name: str, weights: str) -> Extractor:
        if name == AttributeFeatures.name:
            return AttributeFeatures(self.classifier())
        if self._plugins is None:
            raise GenbenchError(f"extractor `{name}` can't be looked up without plugins")
        return obtain_extractor(self._plugins, name, weights, self.device)

    def _images(self, subject: Subject) -> Iterator[Tensor]:
        if isinstance(subject, Sampled):
            return self._generation.samples(subject, keep=False)
        if isinstance(subject, Reconstructed):
            return (to_uint8(fake) for _, fake in self.reconstructions(subject.split))
        return self.real(subject.split)
