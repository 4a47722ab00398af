"""Fréchet distances between images (Heusel et al. 2017, eq. 6), on Inception's and the classifier's features."""

from collections.abc import Iterable
from contextlib import suppress

from genbench.data.packed import Split
from genbench.errors import NotApplicable
from genbench.evaluate.context import EvaluationContext, Subject
from genbench.evaluate.extractors import Extractor
from genbench.evaluate.moments import frechet_distance
from genbench.interfaces import Evaluator
from genbench.records import Score
from genbench_evaluators.settings import FidSettings


class FrechetInceptionDistance(Evaluator):
    """FID between samples and real images, as torch-fidelity computes it."""

    def __init__(self, settings: FidSettings) -> None:
        self.settings = settings

    def evaluate(self, context: EvaluationContext) -> Iterable[Score]:
        extractor = context.extractor("inception", self.settings.weights)
        subject: Subject = ("samples", context.config.evaluation.samples)
        yield distance_score("fid", context, extractor, subject, self.settings.reference)


class AttributeFrechetDistance(Evaluator):
    """The same distance on the attribute classifier's features, of samples and, given an encoder, reconstructions."""

    def evaluate(self, context: EvaluationContext) -> Iterable[Score]:
        extractor = context.extractor("attributes")
        subject: Subject = ("samples", context.config.evaluation.samples)
        yield distance_score("fd-attributes", context, extractor, subject, "test")
        with suppress(NotApplicable):  # without an encoder there are no reconstructions
            yield distance_score("rfd-attributes", context, extractor, ("reconstructions", "test"), "test")


def distance_score(
    name: str, context: EvaluationContext, extractor: Extractor, subject: Subject, reference: Split
) -> Score:
    """Return the Fréchet distance between images of the model and the real ones of a split.

    Raises:
        NotApplicable: either side has fewer than two images.
    """
    real = context.moments(extractor, ("real", reference))
    generated = context.moments(extractor, subject)
    fewest = min(real.count, generated.count)
    return Score(
        name=name,
        value=frechet_distance(real, generated),
        direction="lower",
        protocol=context.protocol(
            extractor=extractor.name,
            extractor_weights=extractor.weights_hash,
            generated=subject[0],
            generated_images=generated.count,
            real_images=real.count,
            split=reference,
            pixel_range="[0, 255], rounded",
            # With no more images than features a covariance is singular and the distance biased far upwards.
            small_sample=f"{fewest} images for {extractor.size} features" if fewest <= extractor.size else None,
            **extractor.facts,
        ),
    )
