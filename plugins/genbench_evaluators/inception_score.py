"""The Inception score (Salimans et al. 2016, section 4): IS = exp(E KL(p(y|x) ‖ p(y)))."""

from collections.abc import Iterable
from itertools import pairwise
from math import log

import numpy as np
import torch
from torch import Tensor

from genbench.errors import GenbenchError, NotApplicable
from genbench.evaluate.context import EvaluationContext
from genbench.evaluate.extractors import Inception
from genbench.interfaces import Evaluator
from genbench.records import Score
from genbench_evaluators.distribution import network_facts
from genbench_evaluators.distribution_settings import InceptionScoreSettings
from genbench_evaluators.uncertainty import standard_error

SEED = 2020
"""By which torch-fidelity shuffles images before it splits them."""

PUBLISHED_IMAGES = 50_000
"""Images of the published values."""

BLIND = (
    "the Inception score sees no real images: it tells whether samples look like ImageNet's classes, not like the data"
)


class InceptionScore(Evaluator):
    """The Inception score of samples, as torch-fidelity computes it."""

    def __init__(self, settings: InceptionScoreSettings) -> None:
        self.settings = settings

    def evaluate(self, context: EvaluationContext) -> Iterable[Score]:
        extractor, subject, splits = self._inception(context), context.sampled(), self.settings.splits
        if subject.count < 2 * splits:
            raise NotApplicable(
                f"an Inception score of {splits} splits needs at least {2 * splits} samples, there are {subject.count}",
                "generate more with `-s evaluation.samples=N`",
            )
        scores = split_scores(extractor.logits(context.features(extractor, subject)), splits)
        side, channels = context.dataset.size, context.dataset.channels
        yield Score(
            name="inception-score",
            value=scores.mean().item(),
            uncertainty=standard_error(scores),
            direction="higher",
            protocol=context.protocol(
                splits=splits,
                shuffle_seed=SEED,
                uncertainty="standard error of the mean over splits",
                **context.facts(subject),
                **network_facts(extractor),
            ),
            details={"split-deviation": scores.std(correction=0).item()},
            warnings=(BLIND, *extractor.warnings(side, channels), *_few(subject.count)),
        )

    def _inception(self, context: EvaluationContext) -> Inception:
        extractor = context.extractor("inception", self.settings.weights)
        if not isinstance(extractor, Inception):
            raise GenbenchError(f"an Inception score needs Inception's classes, `{extractor.name}` is another network")
        return extractor


def split_scores(logits: Tensor, splits: int = 10, seed: int = SEED) -> Tensor:
    """Return the Inception score of each split of logits (N, classes), (splits,) float64.

    The images are shuffled first, as in torch-fidelity, with which the scores agree.
    """
    count = len(logits)
    order = torch.from_numpy(np.random.RandomState(seed).permutation(count))
    bounds = [i * count // splits for i in range(splits + 1)]
    parts = (logits[order[start:end]] for start, end in pairwise(bounds))
    return torch.stack([_score(part.double()) for part in parts])


def _score(logits: Tensor) -> Tensor:
    logs = logits.log_softmax(1)
    marginal = logs.logsumexp(0) - log(len(logs))  # finite even where no image shows any sign of a class
    return (logs.exp() * (logs - marginal)).sum(1).mean().exp()


def _few(count: int) -> tuple[str, ...]:
    if count >= PUBLISHED_IMAGES:
        return ()
    return (f"of {count} images: biased downwards beside published scores, which are of {PUBLISHED_IMAGES}",)
