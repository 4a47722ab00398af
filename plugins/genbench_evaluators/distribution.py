"""Generated images held against real ones on an extractor's features: what the evaluators of distributions share."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from genbench.data.packed import Split
from genbench.errors import NotApplicable
from genbench.evaluate.context import EvaluationContext
from genbench.evaluate.extractors import Extractor
from genbench.evaluate.subjects import Real, Reconstructed, Sampled
from genbench.records import Scalar, Score


@dataclass(frozen=True)
class Measured:
    """What was found of one comparison.

    Attributes:
        value: of the score.
        uncertainty: a standard error.
        details: parts of the score.
        warnings: beside those of the extractor.
    """

    value: float
    uncertainty: float | None
    details: Mapping[str, float] | None = None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Comparison:
    """Samples or reconstructions on one side, the real images of a split on the other.

    Attributes:
        generated: one side.
        reference: the split of the other.
    """

    context: EvaluationContext
    extractor: Extractor
    generated: Sampled | Reconstructed
    reference: Split

    def features(self, limit: int) -> tuple[Tensor, Tensor]:
        """Return the features of the first generated and of the first real images, (N, F) and (M, F) float32.

        Raises:
            NotApplicable: there are none of one side.
        """
        real = self.context.features(self.extractor, Real(self.reference), limit)
        return self.context.features(self.extractor, self.generated, limit), real

    def score(
        self,
        name: str,
        direction: Literal["higher", "lower"],
        measured: Measured,
        counts: tuple[int, int],
        facts: Mapping[str, Scalar],
    ) -> Score:
        """Return a score, with an `r` before its name where it is of reconstructions.

        Args:
            counts: how many generated and real images it is of.
            facts: what else its protocol says.
        """
        context, extractor = self.context, self.extractor
        shared = {
            **context.facts(Real(self.reference)),
            **context.facts(self.generated),
            **network_facts(extractor),
            **facts,
        }
        shared |= {"generated_images": counts[0], "real_images": counts[1]}
        return Score(
            name=f"r{name}" if isinstance(self.generated, Reconstructed) else name,
            value=measured.value,
            uncertainty=measured.uncertainty,
            direction=direction,
            protocol=context.protocol(**shared),
            details=dict(measured.details or {}),
            warnings=(
                *extractor.warnings(context.dataset.size, context.dataset.channels),
                *context.warnings(self.generated),
                *measured.warnings,
            ),
        )


def compare(
    context: EvaluationContext,
    extractor: Extractor,
    reference: Split,
    measure: Callable[[Comparison], Iterable[Score]],
) -> Iterator[Score]:
    """Yield what is measured of samples and, given an encoder, of the reference's reconstructions.

    Where samples can't be measured, because there are too few of them, reconstructions still are.

    Raises:
        NotApplicable: the samples can't be measured.
    """
    trouble = None
    try:
        yield from measure(Comparison(context, extractor, context.sampled(), reference))
    except NotApplicable as error:
        trouble = error
    # Without an encoder there are none, and where there are too few, so there are of real images, which was told.
    with suppress(NotApplicable):
        yield from measure(Comparison(context, extractor, Reconstructed(reference), reference))
    if trouble is not None:
        raise trouble


def network_facts(extractor: Extractor) -> dict[str, Scalar]:
    """Return what a protocol says of an extractor, and of the images that it is given."""
    return {
        "extractor": extractor.name,
        "extractor_weights": extractor.weights_hash,
        "pixel_range": "[0, 255], rounded",
        **extractor.facts,
    }
