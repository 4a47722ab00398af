"""Fréchet distances between images (Heusel et al. 2017, eq. 6): on Inception's features FID, on others' FD."""

from collections.abc import Iterable
from math import sqrt

from genbench.data.packed import Split
from genbench.errors import NotApplicable
from genbench.evaluate.context import EvaluationContext
from genbench.evaluate.extractors import Extractor
from genbench.evaluate.moments import Moments, frechet_distance, frechet_influence
from genbench.evaluate.subjects import Real
from genbench.interfaces import Evaluator
from genbench.records import Score
from genbench_evaluators.distribution import Comparison, Measured, compare
from genbench_evaluators.distribution_settings import FidSettings, FrechetSettings

INFLUENCE_IMAGES = 10_000
"""Generated images that the standard error is estimated on, at most: enough for two digits of it."""

AMPLE = 10
"""Images for each feature from which on the distance's bias goes unmentioned."""


class FrechetInceptionDistance(Evaluator):
    """FID of samples and, given an encoder, of reconstructions, as torch-fidelity computes it."""

    def __init__(self, settings: FidSettings) -> None:
        self.settings = settings

    def evaluate(self, context: EvaluationContext) -> Iterable[Score]:
        extractor = context.extractor("inception", self.settings.weights)
        yield from distances(context, "fid", extractor, self.settings.reference)


class FrechetDistance(Evaluator):
    """The same distance as FID, on the features of any extractor."""

    def __init__(self, settings: FrechetSettings) -> None:
        self.settings = settings

    def evaluate(self, context: EvaluationContext) -> Iterable[Score]:
        extractor = context.extractor(self.settings.extractor, self.settings.weights)
        yield from distances(context, f"fd-{extractor.name}", extractor, self.settings.reference)


def distances(context: EvaluationContext, name: str, extractor: Extractor, reference: Split) -> Iterable[Score]:
    """Yield the Fréchet distances of samples and of reconstructions; raises as `compare` does."""

    def measure(comparison: Comparison) -> Iterable[Score]:
        real = context.moments(extractor, Real(reference))
        _check_count("real", real.count, extractor)
        generated = context.moments(extractor, comparison.generated)
        _check_count("generated", generated.count, extractor)
        measured = Measured(
            value=frechet_distance(real, generated),
            uncertainty=_standard_error(comparison, real, generated),
            warnings=_bias(min(real.count, generated.count), extractor),
        )
        facts = {"uncertainty": "standard error over generated images, real ones fixed (influence function)"}
        yield comparison.score(name, "lower", measured, (generated.count, real.count), facts)

    return compare(context, extractor, reference, measure)


def _standard_error(comparison: Comparison, real: Moments, generated: Moments) -> float:
    features = comparison.context.features(comparison.extractor, comparison.generated, INFLUENCE_IMAGES)
    return frechet_influence(real, generated, features).std().item() / sqrt(generated.count)


def _check_count(side: str, count: int, extractor: Extractor) -> None:
    if count > extractor.size:
        return
    raise NotApplicable(
        f"a Fréchet distance on the {extractor.size} features of `{extractor.name}` needs at least "
        f"{extractor.size + 1} images on each side, there are {count} {side} ones: with fewer a covariance is singular "
        "and the distance biased far upwards",
        "generate more with `-s evaluation.samples=N`"
        if side == "generated"
        else "hold against the training split, setting `reference=train`, or take an extractor of fewer features",
    )


def _bias(fewest: int, extractor: Extractor) -> tuple[str, ...]:
    if fewest >= AMPLE * extractor.size:
        return ()
    return (
        f"{fewest} images for {extractor.size} features: a Fréchet distance is biased upwards, by an amount that falls "
        "as 1/N and differs between models (Chong & Forsyth 2020)",
    )
