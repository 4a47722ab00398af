"""A small store, data set and plugins to carry out whole runs with; some of the parts go wrong on demand."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import genbench
import genbench_datasets
import genbench_evaluators
import genbench_gan
import genbench_similarities
import genbench_vae
import genbench_vaegan
from genbench.config import EvaluationConfig, RunConfig
from genbench.evaluate.context import EvaluationContext
from genbench.interfaces import Batch, DataRequest, Dataset, Evaluator, ImageSet, Losses, Similarity, View
from genbench.pipeline import Surroundings, folder_of, run
from genbench.plugins import Plugins
from genbench.records import Record, Score
from genbench.resolution import RunRequest, resolve
from genbench.store import RunFolder
from genbench_vae.model import Vae

BATCH, STEPS = 8, 6
TINY = ("network.width=0.05", "network.latent_size=4", "network.encoder_hidden=64")


class Blobs(Dataset):
    """A hundred grey discs on black, of which 60 train, 10 validate and 30 test."""

    prepared = 0

    def prepare(self, request: DataRequest) -> ImageSet:
        type(self).prepared += 1
        rng = np.random.default_rng(0)
        y, x = np.mgrid[: request.size, : request.size] / request.size
        radius = rng.uniform(0.1, 0.5, (100, 1, 1))
        inside = (x - 0.5) ** 2 + (y - 0.5) ** 2 < radius**2
        images = np.where(inside, 200, 20).astype(np.uint8)[..., None].repeat(3, axis=3)
        splits = np.repeat([0, 1, 2], [60, 10, 30]).astype(np.uint8)
        return ImageSet(images, splits, (radius[:, :, 0] > 0.3).astype(np.uint8), ("large",), notes=("drawn",))


class Broken(Vae):
    """Fails after three steps, in one way or another."""

    how: str = ""

    def losses(self, batch: Batch) -> Losses:
        losses = super().losses(batch)
        if batch.images_seen >= 3 * BATCH:
            if self.how == "raise":
                raise RuntimeError("this model is broken")
            if self.how == "memory":
                raise torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate 2.00 GiB.")
            if self.how == "interrupt":
                raise KeyboardInterrupt
            if self.how == "nan":
                return Losses({name: loss * math.nan for name, loss in losses.of.items()}, losses.log)
        return losses


class Blind(Similarity):
    def forward(self, real: View, fake: View) -> Tensor:
        return torch.zeros(len(real.images))


class One(Evaluator):
    def evaluate(self, context: EvaluationContext) -> Iterable[Score]:
        yield Score(name="one", value=1.0, direction="higher", protocol=context.protocol())


class Failing(Evaluator):
    def evaluate(self, context: EvaluationContext) -> Iterable[Score]:
        raise RuntimeError("no luck")


class Other:
    """A class that is no model, whatever it is given."""

    def __init__(self, *_: object) -> None: ...


class Extras:
    """The plugin with all of the above."""

    def __init__(self) -> None:
        self.finished: list[Record] = []

    @genbench.hookimpl
    def genbench_datasets(self) -> Iterator[genbench.DatasetSpec]:
        yield genbench.DatasetSpec("blobs", "", f"{__name__}:Blobs", size=16, images=STEPS * BATCH)

    @genbench.hookimpl
    def genbench_models(self) -> Iterator[genbench.ModelSpec]:
        settings = "genbench_vae.settings:VaeSettings"
        yield genbench.ModelSpec("broken", "", f"{__name__}:Broken", settings, similarity="mse")
        yield genbench.ModelSpec("other", "", f"{__name__}:Other")

    @genbench.hookimpl
    def genbench_similarities(self) -> Iterator[genbench.SimilaritySpec]:
        yield genbench.SimilaritySpec("blind", "", f"{__name__}:Blind")

    @genbench.hookimpl
    def genbench_evaluators(self) -> Iterator[genbench.EvaluatorSpec]:
        yield genbench.EvaluatorSpec("one", "", f"{__name__}:One", version=3, default=False)
        yield genbench.EvaluatorSpec("failing", "", f"{__name__}:Failing", default=False)

    @genbench.hookimpl
    def genbench_run_finished(self, record: Record) -> None:
        self.finished.append(record)
        if record.run.seed == 13:
            raise RuntimeError("the tracker is down")


class Watch:
    """Observes, and does something after some steps."""

    def __init__(self, then: Mapping[int, Callable[[], None]] | None = None) -> None:
        self.then = then or {}
        self.steps: list[int] = []
        self.words: list[str] = []
        self.starts: list[int] = []

    def started(self, images_seen: int, budget: int) -> None:
        self.starts.append(images_seen)

    def advanced(self, images_seen: int, row: Mapping[str, float]) -> None:
        if not row:
            self.steps.append(images_seen)
            self.then.get(images_seen // BATCH, lambda: None)()

    def preparing(self, done: int, total: int) -> None: ...

    def said(self, message: str) -> None:
        self.words.append(message)


class Bench:
    """A store, a cache and plugins to run things with."""

    def __init__(self, folder: Path) -> None:
        self.extras = Extras()
        self.plugins = Plugins.of(
            self.extras,
            genbench_datasets,
            genbench_evaluators,
            genbench_gan,
            genbench_similarities,
            genbench_vae,
            genbench_vaegan,
        )
        self.around = Surroundings(folder / "runs", folder / "cache", device="cpu")

    def config(self, model: str = "vae", dataset: str = "blobs", **choices: Any) -> RunConfig:
        settings = (*TINY, *choices.pop("settings", ()))
        evaluators = choices.pop("evaluators", ("mse",))
        asked = RunRequest(model, dataset, batch_size=BATCH, evaluators=evaluators, settings=settings, **choices)
        config = resolve(self.plugins, asked)
        # What runs always has tests of its own, and would stand in the way of all others.
        chosen = tuple(e for e in config.evaluation.evaluators if e.name != "health" or "health" in evaluators)
        return config.model_copy(update={"evaluation": EvaluationConfig(evaluators=chosen)})

    def folder(self, config: RunConfig) -> RunFolder:
        return folder_of(config, self.around)

    def run(
        self, config: RunConfig, watch: Watch | None = None, stop: Callable[[], bool] = lambda: False
    ) -> Record | None:
        return run(self.plugins, config, self.around, watch or Watch(), stop)

    def finish(self, config: RunConfig, watch: Watch | None = None) -> Record:
        record = self.run(config, watch)
        assert record is not None
        return record


def stop_after(steps: int) -> Callable[[], bool]:
    asked = iter([False] * steps)
    return lambda: next(asked, True)
