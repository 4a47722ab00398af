"""What a trained model makes of latents and of images, batch by batch, each batch from seeds of its own."""

from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor

from genbench.config import RunConfig
from genbench.data.packed import PackedDataset, Split
from genbench.errors import GenbenchError, NotApplicable
from genbench.evaluate.keeping import Kept
from genbench.evaluate.samplers import Mixture, draw, fit
from genbench.evaluate.subjects import Sampled
from genbench.images import to_float, to_uint8
from genbench.interfaces import Batch, Model, Posterior
from genbench.networks import seeded
from genbench.randomness import derive

NOISE_BLOCK = 1024
"""Latents drawn from one generator; the k-th sample is the same however many are asked for."""

KEPT_BYTES = 2**27
"""Samples that an evaluator asks for are kept for the next while they fit in so much memory of the device, and each
split's latents likewise. What is asked for moments alone keeps nothing: its memory is the same for any number."""


class Generation:
    """A trained model at work, in eval mode and without gradients.

    Args:
        model: put on the device and into eval mode.
        dataset: what the model was trained on.
        config: of the run.
        device: where everything is computed.
        batch_size: images computed at a time; moves no image beyond rounding.
    """

    def __init__(
        self, model: Model, dataset: PackedDataset, config: RunConfig, device: torch.device, batch_size: int
    ) -> None:
        self.model = model.to(device).eval()
        self.dataset = dataset
        self.config = config
        self.device = device
        self.batch_size = batch_size
        self._samples = Kept(KEPT_BYTES)
        self._posteriors: dict[Split, Kept] = {}
        self._mixtures: dict[int, Mixture] = {}

    def seed(self, *purpose: str | int) -> int:
        """Return a seed of the run's for one purpose."""
        return derive(self.config.seed, "evaluate", *purpose)

    def real(self, split: Split, limit: int | None = None) -> Iterator[tuple[int, Tensor]]:
        """Yield batches of real images, uint8 (N, C, H, W), each with the place of its first."""
        indices = self.dataset.indices(split)[:limit]
        if not len(indices):
            raise NotApplicable(f"data set `{self.dataset.name}` has no images in its {split} split")
        for start in range(0, len(indices), self.batch_size):
            images = torch.from_numpy(self.dataset.images[indices[start : start + self.batch_size]])
            yield start, images.to(self.device).permute(0, 3, 1, 2).contiguous()

    def prior(self, count: int, purpose: str) -> Tensor:
        """Return latents (count, latent_size) from N(0, I), on the CPU; each purpose has latents of its own."""
        return self._in_blocks(count, lambda block: self._noise(purpose, block))

    def latents(self, subject: Sampled, purpose: str = "samples") -> Tensor:
        """Return latents (count, latent_size) from a sampler, on the CPU.

        Raises:
            NotApplicable: the sampler is fitted to encoded images, and the model has no encoder.
        """
        return self._in_blocks(subject.count, lambda block: self._block(subject, purpose, block))

    def samples(self, subject: Sampled, *, keep: bool) -> Iterator[Tensor]:
        """Yield batches of samples, uint8; computed are whole ones, however few are asked for."""
        for block, first in enumerate(range(0, subject.count, NOISE_BLOCK)):
            block_latents = self._block(subject, "samples", block)
            for place in range(first, min(first + NOISE_BLOCK, subject.count), self.batch_size):
                latents = block_latents[place - first : place - first + self.batch_size]
                key = (subject.sampler, subject.gmm_components, place)
                images = self._samples.get(key, partial(self._decode_to_uint8, latents, place), keep=keep)
                yield images[: subject.count - place]

    def encoded(self, split: Split, *, keep: bool) -> Iterator[tuple[int, Tensor, Posterior]]:
        """Yield the place of a batch's first image, the images, uint8, and their posteriors."""
        kept = self._posteriors.setdefault(split, Kept(KEPT_BYTES))
        for start, real in self.real(split):
            both = kept.get(start, partial(self._encode, start, real), keep=keep)
            yield start, real, Posterior(*both.chunk(2, 1))

    def posteriors(self, split: Split) -> Posterior:
        """Return the posteriors of a split's images, on the CPU."""
        both = [torch.stack(posterior) for _, _, posterior in self.encoded(split, keep=True)]
        return Posterior(*torch.cat(both, 1).cpu().unbind())

    def encode_all(self, images: Tensor) -> Posterior:
        """Encode images of any origin, uint8 (N, C, H, W), in batches; on the CPU."""
        starts = range(0, len(images), self.batch_size)
        both = [self._encode(start, images[start : start + self.batch_size].to(self.device)) for start in starts]
        return Posterior(*torch.cat(both).cpu().chunk(2, 1))

    def decode_all(self, latents: Tensor, place: int) -> Tensor:
        """Decode in batches; `place` is that of the first among all that belong together."""
        starts = range(0, len(latents), self.batch_size)
        return torch.cat([self.decode(latents[start : start + self.batch_size], place + start) for start in starts])

    @torch.no_grad()
    def decode(self, latents: Tensor, start: int) -> Tensor:
        """Decode one batch into images (N, C, H, W) in [-1, 1]."""
        with seeded(self.seed("decode", start)):
            images = self.model.decode(latents.to(self.device))
        expected = (len(latents), self.dataset.channels, self.dataset.size, self.dataset.size)
        if images.shape != expected:
            raise GenbenchError(f"the model decodes to {tuple(images.shape)}, expected {expected}")
        if not images.isfinite().all():
            raise GenbenchError("the model decodes to images that are not finite", "did its training diverge?")
        return images.clamp(-1, 1)

    def _in_blocks(self, count: int, block: Callable[[int], Tensor]) -> Tensor:
        return torch.cat([block(number) for number in range(-(-count // NOISE_BLOCK))])[:count]

    def _noise(self, purpose: str, block: int) -> Tensor:
        generator = torch.Generator().manual_seed(self.seed(purpose, block))
        return torch.randn(NOISE_BLOCK, self.config.network.latent_size, generator=generator)

    def _block(self, subject: Sampled, purpose: str, block: int) -> Tensor:
        if subject.sampler == "prior":
            return self._noise(purpose, block)
        return draw(self.mixture(subject.gmm_components), self.seed("gmm", purpose, block), NOISE_BLOCK)

    def mixture(self, components: int) -> Mixture:
        """Return the mixture fitted to the latents of the training images; raises as `latents` does."""
        if components not in self._mixtures:
            try:
                posteriors = self.posteriors("train")
            except NotApplicable as error:
                raise NotApplicable(
                    f"the sampler `gmm` is fitted to encoded training images: {error.message}", "--sampler prior"
                ) from error
            self._mixtures[components] = fit(posteriors, components, self.seed("gmm"))
        return self._mixtures[components]

    def _decode_to_uint8(self, latents: Tensor, place: int) -> Tensor:
        return to_uint8(self.decode(latents, place))

    @torch.no_grad()
    def _encode(self, start: int, images: Tensor) -> Tensor:
        """Return means and log-variances side by side, (N, 2 · latent_size)."""
        with seeded(self.seed("encode", start)):  # a model may draw noise
            posterior = self.model.encode(Batch(to_float(images)))
        expected = (len(images), self.config.network.latent_size)
        if posterior.mean.shape != expected:
            raise GenbenchError(f"the model encodes to {tuple(posterior.mean.shape)}, expected {expected}")
        if not posterior.mean.isfinite().all():
            raise GenbenchError("the model encodes images to means that are not finite", "did its training diverge?")
        return torch.cat(list(posterior), 1).contiguous()
