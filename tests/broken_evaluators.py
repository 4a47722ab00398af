"""Evaluators that break one promise each, for the tests of the kit."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
from torch import Tensor

import genbench
from genbench.errors import NotApplicable
from genbench.evaluate.context import EvaluationContext
from genbench.images import to_float
from genbench.interfaces import Evaluator
from genbench.records import Check, Score, Sheet
from genbench.specs import ADDED_LATER


@dataclass(frozen=True)
class Settings:
    power: float = 1.0
    channel: Literal["all", "first"] = field(default="all", metadata=ADDED_LATER)
    weights: str = ""


class Sound(Evaluator):
    """Mean absolute error of reconstructions, to some power; breaks no promise."""

    direction: Literal["higher", "lower", "none"] = "lower"

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def evaluate(self, context: EvaluationContext) -> Iterable[Score]:
        values = torch.cat(list(self.errors(context)))
        yield self.score(context, values)

    def errors(self, context: EvaluationContext) -> Iterator[Tensor]:
        channels = slice(None) if self.settings.channel == "all" else slice(1)
        for real, fake in context.reconstructions("test"):
            difference = (real - fake)[:, channels].abs() ** self.settings.power
            yield difference.double().flatten(1).mean(1)

    def score(self, context: EvaluationContext, values: Tensor, name: str = "error", **facts: object) -> Score:
        return Score(
            name=name,
            value=values.mean().item(),
            uncertainty=values.std().item() / len(values) ** 0.5 if len(values) > 1 else None,
            direction=self.direction,
            protocol=self.protocol(context, len(values)) | facts,
        )

    def protocol(self, context: EvaluationContext, count: int) -> dict[str, object]:
        return context.protocol(images=count, split="test", power=self.settings.power, channel=self.settings.channel)  # type: ignore[return-value]


class Twice(Sound):
    def evaluate(self, context: EvaluationContext) -> Iterable[Score]:
        yield from super().evaluate(context)
        yield from super().evaluate(context)


class NotFinite(Sound):
    def evaluate(self, context: EvaluationContext) -> Iterable[Score]:
        for score in super().evaluate(context):
            yield score.model_copy(update={"details": {"of": float("inf")}})


class Ragged(Sound):
    def evaluate(self, context: EvaluationContext) -> Iterable[Score | Sheet]:  # type: ignore[override]
        yield from super().evaluate(context)
        yield Sheet(name="table", columns=("a", "b"), rows=((1, 2), (3,)))


class Empty(Sound):
    def evaluate(self, context: EvaluationContext) -> Iterable[Score]:
        return ()


class Numbers(Sound):
    def evaluate(self, context: EvaluationContext) -> Iterable[Score]:
        yield 3.0  # type: ignore[misc]


class Bare(Sound):
    def protocol(self, context: EvaluationContext, count: int) -> dict[str, object]:
        return {"images": count, "power": self.settings.power, "channel": self.settings.channel}


class Uncounted(Sound):
    def protocol(self, context: EvaluationContext, count: int) -> dict[str, object]:
        return super().protocol(context, 0)


class Secretive(Sound):
    def protocol(self, context: EvaluationContext, count: int) -> dict[str, object]:
        return {key: value for key, value in super().protocol(context, count).items() if key != "channel"}


class Rising(Sound):
    direction = "higher"


class Sampling(Sound):
    """How far the edges of samples are from those of test images, in the mean; says which samples."""

    def evaluate(self, context: EvaluationContext) -> Iterable[Score]:
        samples = self.edges(context.samples(context.sampling.samples))
        real = self.edges(context.real("test"))
        off = (samples.mean() - real.mean()).abs()[None]
        yield self.score(context, off, "edges", **self.which(context), images=len(real))

    def edges(self, batches: Iterable[Tensor]) -> Tensor:
        channels = slice(None) if self.settings.channel == "all" else slice(1)
        images = torch.cat([to_float(batch) for batch in batches])[:, channels]
        return (images.diff(dim=3).abs() ** self.settings.power).double().flatten(1).mean(1)

    def which(self, context: EvaluationContext) -> dict[str, object]:
        return {**context.facts(context.sampled())}


class Contrast(Sampling):
    """How strong the edges of samples are, as if noise were a virtue."""

    direction = "higher"

    def evaluate(self, context: EvaluationContext) -> Iterable[Score]:
        values = self.edges(context.samples(context.sampling.samples))
        yield self.score(context, values, "edges", **self.which(context))


class Unsaid(Sampling):
    def which(self, context: EvaluationContext) -> dict[str, object]:
        return {}


class ByBatch(Sound):
    def errors(self, context: EvaluationContext) -> Iterator[Tensor]:
        for batch in super().errors(context):
            yield batch.mean()[None]

    def protocol(self, context: EvaluationContext, count: int) -> dict[str, object]:
        return super().protocol(context, context.count("test"))


class First(Sound):
    """Looks at one image alone, and says so."""

    def evaluate(self, context: EvaluationContext) -> Iterable[Score]:
        yield self.score(context, torch.cat(list(self.errors(context)))[:1])


class Fresh(Sound):
    def errors(self, context: EvaluationContext) -> Iterator[Tensor]:
        for batch in super().errors(context):
            yield batch * (1 + 1e-7 * np.random.default_rng().random())


class Global(Sound):
    def errors(self, context: EvaluationContext) -> Iterator[Tensor]:
        np.random.random()  # noqa: NPY002
        return super().errors(context)


class Retraining(Sound):
    def evaluate(self, context: EvaluationContext) -> Iterable[Score]:
        yield from super().evaluate(context)
        context.model.train()


class Scribbling(Sound):
    def evaluate(self, context: EvaluationContext) -> Iterable[Score]:
        yield from super().evaluate(context)
        context.dataset.images[:1] = 0


class Crashing(Sound):
    def evaluate(self, context: EvaluationContext) -> Iterable[Score]:
        try:
            yield from super().evaluate(context)
        except NotApplicable as error:
            raise ValueError("no encoder") from error


class Absent(Sound):
    def evaluate(self, context: EvaluationContext) -> Iterable[Score]:
        raise NotApplicable("its weights are not here")


class Downloading(Sound):
    def evaluate(self, context: EvaluationContext) -> Iterable[Score]:
        from urllib.request import urlopen

        try:
            urlopen("http://example.com/weights", timeout=1)
        except OSError as error:
            raise NotApplicable(f"can't be downloaded ({error})") from error
        return ()


class Signs(Sound):
    """Gives no scores, but a sign of health that depends on the batch."""

    def evaluate(self, context: EvaluationContext) -> Iterable[Check]:  # type: ignore[override]
        worst = max(batch.mean().item() for batch in self.errors(context))
        yield Check(name="worst", value=worst, flagged=False, rule="at most 1", meaning="It is bad.")


class Other:
    """No evaluator."""

    def __init__(self, settings: Settings) -> None: ...


SAMPLED = {"sampling", "contrast", "unsaid", "oversampled"}


class Plugin:
    """Declares all of them, by the names of their classes."""

    @genbench.hookimpl
    def genbench_evaluators(self) -> Iterator[genbench.EvaluatorSpec]:
        settings = f"{__name__}:Settings"
        for name, cls in globals().items():
            if isinstance(cls, type) and (issubclass(cls, Sound) or cls is Other):
                target = f"{__name__}:{name}"
                yield genbench.EvaluatorSpec(name.lower(), "", target, settings, sampled=name.lower() in SAMPLED)
        yield genbench.EvaluatorSpec("undersampled", "", f"{__name__}:Sampling", settings, sampled=False)
        yield genbench.EvaluatorSpec("oversampled", "", f"{__name__}:Sound", settings)
