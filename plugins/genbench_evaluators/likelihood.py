"""What a VAE trades: how far reconstructions are, under any similarity, and how much the latents tell (the rate)."""

from collections.abc import Iterable

from genbench.evaluate.context import EvaluationContext
from genbench.interfaces import Evaluator
from genbench.records import Score
from genbench_evaluators.reconstruction import SPLIT, mean_score, measured
from genbench_evaluators.similarity_settings import SimilarityScoreSettings
from genbench_evaluators.uncertainty import OVER_IMAGES, standard_error


class SimilarityScore(Evaluator):
    """Mean over test images of a similarity's cost of their reconstructions, decoded from the posterior's mean.

    The similarity is the same for all models, whatever they were trained with: one that needs a discriminator gets the
    data set's reference discriminator.
    """

    def __init__(self, settings: SimilarityScoreSettings) -> None:
        self.settings = settings

    def evaluate(self, context: EvaluationContext) -> Iterable[Score]:
        name = self.settings.similarity
        next(context.reconstructions(SPLIT))  # a model that can't reconstruct costs no reference discriminator
        judge = context.judge(name)
        yield mean_score(context, f"similarity-{name}", "lower", measured(context, judge), judge.facts)


class Rate(Evaluator):
    """Mean over test images of KL(q(z|x) ‖ N(0, I)) in nats: the rate of Alemi et al. 2018, section 2."""

    def evaluate(self, context: EvaluationContext) -> Iterable[Score]:
        rates = context.posteriors(SPLIT).kl().double()
        yield Score(
            name="kl",
            value=rates.mean().item(),
            uncertainty=standard_error(rates),
            direction="none",
            protocol=context.protocol(images=len(rates), split=SPLIT, unit="nats", uncertainty=OVER_IMAGES),
        )
