"""Precision and recall (Kynkäänniemi et al. 2019), density and coverage (Naeem et al. 2020)."""

from collections.abc import Callable, Iterable

from torch import Tensor

from genbench.evaluate.context import EvaluationContext
from genbench.evaluate.neighbours import density_coverage, precision_recall
from genbench.interfaces import Evaluator
from genbench.records import Scalar, Score
from genbench_evaluators.distribution import Comparison, Measured, compare
from genbench_evaluators.distribution_settings import DensityCoverageSettings, PrecisionRecallSettings
from genbench_evaluators.uncertainty import standard_error

EXTRACTOR = "vgg16"
"""Whose scores bear no extractor's name: the network of both papers."""

FEW = 1000
"""Images on a side below which a score is said to be of few."""


class PrecisionRecall(Evaluator):
    """The part of generated images that look real, and of real images that the model could have generated."""

    def __init__(self, settings: PrecisionRecallSettings) -> None:
        self.settings = settings

    def evaluate(self, context: EvaluationContext) -> Iterable[Score]:
        return _neighbourhoods(context, self.settings, precision_recall, ("precision", "recall"))


class DensityCoverage(Evaluator):
    """In how many real neighbourhoods generated images lie, and which part of those neighbourhoods they reach."""

    def __init__(self, settings: DensityCoverageSettings) -> None:
        self.settings = settings

    def evaluate(self, context: EvaluationContext) -> Iterable[Score]:
        return _neighbourhoods(context, self.settings, density_coverage, ("density", "coverage"))


def _neighbourhoods(
    context: EvaluationContext,
    settings: PrecisionRecallSettings | DensityCoverageSettings,
    values: Callable[[Tensor, Tensor, int], tuple[Tensor, Tensor]],
    names: tuple[str, str],
) -> Iterable[Score]:
    """Return the means of both values, the first over generated and the second over real images."""
    extractor = context.extractor(settings.extractor, settings.weights)

    def measure(comparison: Comparison) -> Iterable[Score]:
        generated, real = comparison.features(settings.images)
        counts = len(generated), len(real)
        facts: dict[str, Scalar] = {"neighbours": settings.neighbours, "distance": "Euclidean, float32"}
        sides = ("generated", "real")
        for name, each, side in zip(names, values(generated, real, settings.neighbours), sides, strict=True):
            measured = Measured(each.mean().item(), standard_error(each), warnings=_few(min(counts)))
            how = f"standard error over {side} images, neighbourhoods fixed"
            of = "" if extractor.name == EXTRACTOR else f"-{extractor.name}"
            yield comparison.score(f"{name}{of}", "higher", measured, counts, facts | {"uncertainty": how})

    return compare(context, extractor, settings.reference, measure)


def _few(fewest: int) -> tuple[str, ...]:
    if fewest >= FEW:
        return ()
    return (f"of {fewest} images only: neighbourhoods widen as images get fewer; compare with scores of as many alone",)
