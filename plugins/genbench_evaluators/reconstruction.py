"""Mean squared error of reconstructions."""

from collections.abc import Iterable
from math import sqrt

import torch

from genbench.data.packed import Split
from genbench.evaluate.context import EvaluationContext
from genbench.interfaces import Evaluator
from genbench.records import Score

SPLIT: Split = "test"


class ReconstructionError(Evaluator):
    """Mean over test images of the squared error of a pixel's channel in [0, 1], decoded from the posterior's mean."""

    def evaluate(self, context: EvaluationContext) -> Iterable[Score]:
        # Half a difference in [-1, 1] is a difference in [0, 1].
        errors = torch.cat(
            [
                ((real - fake) / 2).square().flatten(1).mean(1).cpu().double()
                for real, fake in context.reconstructions(SPLIT)
            ]
        )
        yield Score(
            name="mse",
            value=errors.mean().item(),
            uncertainty=standard_error(errors),
            direction="lower",
            protocol=context.protocol(
                images=len(errors),
                split=SPLIT,
                pixel_range="[0, 1]",
                latents="posterior mean",
                quantised=False,
            ),
        )


def standard_error(values: torch.Tensor) -> float | None:
    """Return the standard error of the mean of values (N,), or None for fewer than two."""
    return values.std().item() / sqrt(len(values)) if len(values) > 1 else None
