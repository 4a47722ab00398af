"""The kernel distance: on Inception's features KID (Bińkowski et al. 2018), on others' KD."""

from collections.abc import Iterable

from genbench.evaluate.context import EvaluationContext
from genbench.evaluate.kernel import SEED, kernel_distance
from genbench.interfaces import Evaluator
from genbench.records import Scalar, Score
from genbench_evaluators.distribution import Comparison, Measured, compare
from genbench_evaluators.distribution_settings import KernelSettings


class KernelInceptionDistance(Evaluator):
    """The unbiased kernel distance of samples and, given an encoder, of reconstructions, as torch-fidelity has it."""

    def __init__(self, settings: KernelSettings) -> None:
        self.settings = settings

    def evaluate(self, context: EvaluationContext) -> Iterable[Score]:
        extractor = context.extractor(self.settings.extractor, self.settings.weights)
        return compare(context, extractor, self.settings.reference, self._measure)

    def _measure(self, comparison: Comparison) -> Iterable[Score]:
        settings, extractor = self.settings, comparison.extractor
        generated, real = comparison.features(settings.images)
        found = kernel_distance(generated, real, subsets=settings.subsets, subset_size=settings.subset_size)
        name = "kid" if extractor.name == "inception" else f"kd-{extractor.name}"
        measured = Measured(found.value, found.standard_error, {"subset-deviation": found.deviation})
        facts: dict[str, Scalar] = {
            "kernel": "(x·y / features + 1)³",
            "subsets": settings.subsets,
            "subset_size": settings.subset_size,
            "subset_seed": SEED,
            "uncertainty": "standard error over generated images, real ones fixed (witness function), and over subsets",
        }
        yield comparison.score(name, "lower", measured, (len(generated), len(real)), facts)
