"""An evaluator at work on an oracle: circumstances, contexts, and what comes of an evaluation."""

import shutil
import tempfile
import weakref
from dataclasses import dataclass, field, replace
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from genbench.config import EvaluatorConfig, RunConfig, SamplingConfig
from genbench.data.packed import PackedDataset
from genbench.distortions import BY_NAME
from genbench.errors import NotApplicable
from genbench.evaluate.context import EvaluationContext
from genbench.evaluate.evaluation import exact
from genbench.interfaces import DataRequest, Evaluator
from genbench.networks import seeded
from genbench.records import Check, Score, Sheet
from genbench.resolution import build_part, resolve_evaluation
from genbench.specs import EvaluatorSpec
from genbench.testing.evaluators_oracle import COUNTS, LATENT, SIDE, Grade, Oracle, Remembered, scenes
from genbench.testing.interface import CheckFailed, Subject
from genbench.testing.offline import offline

DATASET = "scenes-of-the-check"

SAMPLES = SamplingConfig(samples=512)
"""That an evaluator is given, unless it is tried with others."""

FEWER = 6
"""One of so many test images is left out where there are fewer."""

CURVE = tuple({"images_seen": 64.0 * row, "kl": 10.0, "like": 100.0 / row} for row in range(1, 11))
"""Of a training that went well."""


@dataclass(frozen=True)
class Circumstances:
    """What an evaluator is tried in.

    Attributes:
        grade: how well the oracle shows what it is asked for.
        encodes: whether it has an encoder.
        labelled: whether the data has attributes.
        knows: whether the data set knows the true changed images.
        counts: of the scenes that train, validate and test.
        arranged: how the images stand: as they are drawn, in the reverse order, or without a part of the test images.
        mislabelled: whether the attributes are those of other images; the classifier has learned the true ones.
        batch_size: images that are computed at a time.
        cache: name of the cache; what is kept of real images under one name is not seen under another.
    """

    grade: Grade = field(default_factory=Grade)
    encodes: bool = True
    labelled: bool = True
    knows: bool = True
    channels: int = 3
    counts: tuple[int, int, int] = COUNTS
    arranged: Literal["usual", "reversed", "fewer"] = "usual"
    mislabelled: bool = False
    batch_size: int = 64
    cache: str = "first"
    device: str = "cpu"


PLAIN = Circumstances()

USUAL = Circumstances(Grade(BY_NAME["noise"], 0.05, astray=0.1, warped=0.3))
"""An oracle that is neither perfect nor bad, so that no score is at its limit."""


@dataclass(frozen=True)
class Found:
    """What came of an evaluation.

    Attributes:
        skipped: why it gave no scores, or not all; None where it gave all.
    """

    scores: tuple[Score, ...]
    checks: tuple[Check, ...]
    sheets: tuple[Sheet, ...]
    skipped: str | None = None

    @property
    def values(self) -> dict[str, float]:
        """Return the scores' values by name."""
        return {score.name: score.value for score in self.scores}


@dataclass(frozen=True)
class EvaluatorSubject(Subject):
    """An evaluator, with oracles to be tried on."""

    @property
    def spec(self) -> EvaluatorSpec:
        return self.plugins.evaluator(self.name.partition(":")[0])

    @cached_property
    def component(self) -> EvaluatorConfig:
        """Return the evaluator with all its settings.

        Raises:
            GenbenchError: a setting is none of its own, or has a value that it can't have.
        """
        name = self.spec.name
        found = resolve_evaluation(self.plugins, (self.name,), self.settings).evaluators
        return next(component for component in found if component.name == name)

    def check_settings(self) -> None:
        _ = self.component

    def build(self) -> Evaluator:
        return self._build(self.component)

    @property
    def usual(self) -> Found:
        """Return what comes of the usual circumstances, evaluated once; raises as `evaluate` does."""
        if isinstance(self._usual, NotApplicable):
            raise self._usual
        return self._usual

    @property
    def scored(self) -> Found:
        """Return the same; raises NotApplicable where there are no scores either."""
        if not self.usual.scores:
            raise NotApplicable(self.usual.skipped or "it gives no scores")
        return self.usual

    @cached_property
    def _usual(self) -> Found | NotApplicable:
        try:
            return self.evaluate(USUAL)
        except NotApplicable as error:  # kept, so that missing weights are looked for once
            return error

    def evaluate(
        self,
        circumstances: Circumstances = PLAIN,
        component: EvaluatorConfig | None = None,
        sampling: SamplingConfig = SAMPLES,
    ) -> Found:
        """Evaluate an oracle as a run is evaluated.

        Raises:
            NotApplicable: there is no score, nor anything else, in these circumstances.
        """
        return self.evaluate_in(self.context(circumstances), component, sampling)

    def evaluate_in(
        self, context: EvaluationContext, component: EvaluatorConfig | None = None, sampling: SamplingConfig = SAMPLES
    ) -> Found:
        """Evaluate in a context; raises as `evaluate` does."""
        chosen = component or self.component
        made: list[object] = []
        skipped = None
        seed = context.seed("evaluator", chosen.label)
        with offline(), exact(), torch.no_grad(), seeded(seed), context.given(sampling):
            try:
                for each in self._build(chosen).evaluate(context):
                    made.append(each)  # noqa: PERF402 - what came before NotApplicable stays
            except NotApplicable as error:
                skipped = error
        if skipped is not None and not made:
            raise skipped
        return _sorted(made, chosen.label, skipped)

    def context(self, circumstances: Circumstances = PLAIN) -> EvaluationContext:
        """Return what an evaluator is shown of an oracle."""
        remembered = scenes(circumstances.channels, circumstances.counts)
        source = Remembered(remembered, _places(circumstances))
        return EvaluationContext(
            Oracle(remembered, circumstances.grade, encodes=circumstances.encodes),
            _packed(source, circumstances),
            _configuration(),
            torch.device(circumstances.device),
            self._cache(circumstances.cache),
            circumstances.batch_size,
            plugins=self.plugins,
            source=source if circumstances.knows else None,
            curve=CURVE,
        )

    def _build(self, component: EvaluatorConfig) -> Evaluator:
        part = build_part(self.plugins, self.spec, component.settings)
        if not isinstance(part, Evaluator):
            raise CheckFailed(
                f"`{self.spec.target}` gives a {type(part).__name__}, expected a genbench Evaluator",
                "subclass `genbench.interfaces.Evaluator`",
            )
        return part

    def _cache(self, name: str) -> Path:
        """Return a cache by name; one beside the first has its networks from there, and no features of images."""
        folder, first = self._scratch / name, self._scratch / PLAIN.cache
        if not folder.exists() and first.exists():
            shutil.copytree(first, folder, ignore=shutil.ignore_patterns("moments", "features"))
        folder.mkdir(exist_ok=True)
        return folder

    @cached_property
    def _scratch(self) -> Path:
        """Return a folder that lives as long as this does, so that no two checks train the same classifier."""
        folder = Path(tempfile.mkdtemp(prefix="genbench-check-"))
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        return folder


def _places(circumstances: Circumstances) -> Tensor:
    """Return the scenes that are in the data set, in order."""
    every = torch.arange(sum(circumstances.counts))
    match circumstances.arranged:
        case "reversed":
            return every.flip(0)
        case "fewer":
            return every[: -circumstances.counts[2] // FEWER]
        case _:
            return every


def _packed(source: Remembered, circumstances: Circumstances) -> PackedDataset:
    found = source.prepare(DataRequest(None, Path(), SIDE))
    if not circumstances.labelled:
        found = replace(found, attributes=None, attribute_names=())
    if circumstances.mislabelled and found.attributes is not None:
        found = replace(found, attributes=np.random.default_rng(7).permutation(found.attributes))
    # Of the scenes as they are drawn, so that whatever becomes of order, number and labels one classifier serves all.
    identity = f"{circumstances.channels} {circumstances.counts} {circumstances.labelled}"
    return PackedDataset(
        DATASET,
        SIDE,
        circumstances.channels,
        sha256(identity.encode()).hexdigest(),
        found.images,
        found.splits,
        found.attributes,
        found.attribute_names,
    )


def _configuration() -> RunConfig:
    return RunConfig.model_validate(
        {
            "model": {"name": "oracle"},
            "similarity": None,
            "dataset": {"name": DATASET, "size": SIDE},
            "network": {"latent_size": LATENT},
            "training": {"images": 1},
            "evaluation": {},
        }
    )


def _sorted(made: list[object], label: str, skipped: NotApplicable | None) -> Found:
    kinds: dict[type, list[Any]] = {Score: [], Check: [], Sheet: []}
    for each in made:
        if type(each) not in kinds:
            raise CheckFailed(f"it yielded {type(each).__name__}, expected Score, Check or Sheet")
        kinds[type(each)].append(each)
    # As the harness does it, so that variants are told apart.
    scores = [s.model_copy(update={"protocol": {**s.protocol, "evaluator": label}}) for s in kinds[Score]]
    return Found(tuple(scores), tuple(kinds[Check]), tuple(kinds[Sheet]), skipped.message if skipped else None)
