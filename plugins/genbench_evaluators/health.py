"""Signs of health, computed for every run: what a score alone does not tell of a model that has gone wrong."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress

import torch
from torch import Tensor

from genbench.errors import NotApplicable
from genbench.evaluate.context import EvaluationContext
from genbench.images import to_float
from genbench.interfaces import Evaluator
from genbench.records import Check, Sheet
from genbench_evaluators.health_latents import latent_checks
from genbench_evaluators.health_modes import batch_norm_checks, gradient_checks
from genbench_evaluators.health_rules import Rule
from genbench_evaluators.health_training import training_checks

IMAGES = 1024
"""Images at most, of the data and of the model, that a variance is taken over: the first of the test split. It is then
good to a few per cent."""

VARIES_TOO_MUCH = 1.2
"""A reconstruction that is drawn from the images that its latent may stand for has just the data's variance, and the
mean of those images has less (law of total variance; cf. Blau & Michaeli 2018); samples from the data's distribution
have it too. More is no virtue of any model; a fifth is more than the error of measurement."""

RECONSTRUCTION_VARIANCE = Rule(
    low=0.3,
    high=VARIES_TOO_MUCH,
    under="Reconstructions differ too little between images: the decoder all but ignores what it is told of them.",
    over="Reconstructions vary more than the images do: they are noisy, or of too much contrast.",
)
"""Of a pixel over images, relative to the data's. For reconstructions with the least squared error it is the part of
the variance that they explain (law of total variance): 0 for a model that decodes everyone to one face, 0.7 for the
blurred ones of `vae` on the CelebA subset, and 0.27 for the first principal component of its images alone."""

SAMPLE_VARIANCE = Rule(
    low=0.1,
    high=VARIES_TOO_MUCH,
    under="Samples hardly differ from each other: the generator has collapsed to one image (mode collapse).",
    over="Samples vary more than the images do: they are noisy, or of too much contrast.",
)
"""Of a pixel over samples, relative to the data's. Samples that are k of the data's images over and over have 1 - 1/k
of its variance, so this tells the collapse to one image (Salimans et al. 2016, section 3.2), not to several: recall and
coverage do. Blurred samples have little, too: 0.18 to 0.35 for VAEs on the CelebA subset."""


class Health(Evaluator):
    """Checks of a run, each where it applies to the model; what does not apply is left out."""

    def evaluate(self, context: EvaluationContext) -> Iterable[Check | Sheet]:
        parts: tuple[Callable[[EvaluationContext], Iterator[Check | Sheet]], ...] = (
            training_checks,
            latent_checks,
            image_checks,
            gradient_checks,
        )
        for part in parts:
            with suppress(NotApplicable):
                yield from part(context)


def image_checks(context: EvaluationContext) -> Iterator[Check]:
    """Yield how much reconstructions and samples vary, and how far samples depend on batch-norm's mode.

    Nothing where the data has no variance: fewer than two test images, or all alike.

    Raises:
        NotApplicable: there are no test images.
    """
    data = pixel_variance(to_float(images) for images in context.real("test", IMAGES))
    if not data > 0:
        return
    with suppress(NotApplicable):  # without an encoder there are no reconstructions
        reconstructed = pixel_variance(fake for _, fake in context.reconstructions("test"))
        yield RECONSTRUCTION_VARIANCE.check("reconstruction-variance", reconstructed / data)
    sampled = pixel_variance(to_float(images) for images in context.samples(IMAGES))
    yield SAMPLE_VARIANCE.check("sample-variance", sampled / data)
    yield from batch_norm_checks(context, data)


def pixel_variance(batches: Iterable[Tensor]) -> float:
    """Return the variance over the first 1,024 images of a pixel's channel, averaged over pixels and channels.

    NaN for fewer than two images. Memory is that of one batch.

    Args:
        batches: images (N, C, H, W) in [-1, 1]; of those that are not needed, none is computed.
    """
    count, total, squares = 0, torch.zeros(()).double(), torch.zeros(()).double()
    for batch in batches:
        images = batch[: IMAGES - count].cpu().double()
        count, total, squares = count + len(images), total + images.sum(0), squares + images.square().sum(0)
        if count == IMAGES:
            break
    if count < 2:
        return float("nan")
    return ((squares - total.square() / count) / (count - 1)).mean().item()
