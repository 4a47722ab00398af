"""How evaluators are run: each on its own, with complete protocols."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import pytest
import torch
from contexts import SIZE, Build, Diverged, Noisy, building

import genbench
from genbench.config import EvaluatorConfig, SamplingConfig
from genbench.errors import NotApplicable
from genbench.evaluate.context import EvaluationContext
from genbench.evaluate.evaluation import Evaluation, evaluate
from genbench.evaluate.sheets import write_sheet
from genbench.interfaces import Evaluator
from genbench.plugins import Plugins
from genbench.records import Check, Score, Sheet


@pytest.fixture
def build(tmp_path: Path) -> Build:
    return building(tmp_path)


def one(value: float = 1.0, name: str = "one", **more: Any) -> Score:
    return Score(name=name, value=value, direction="lower", protocol={"split": "test"}, **more)


class Thorough(Evaluator):
    def evaluate(self, context: EvaluationContext) -> Iterable[Score | Check | Sheet]:
        yield one(warnings=("too small",))
        yield Check(name="variance", value=0.01, flagged=True, rule="at least 0.3", meaning="it has collapsed")
        yield Check(name="units", value=1.0, flagged=False, rule="at least 0.1", meaning="dead")
        yield Sheet(name="pairs", columns=("a", "b"), rows=((1, 0.5),))


class Good(Evaluator):
    def evaluate(self, context: EvaluationContext) -> Iterable[Score]:
        yield one()


class Random(Evaluator):
    def evaluate(self, context: EvaluationContext) -> Iterable[Score]:
        yield one(torch.rand(()).item())


@dataclass(frozen=True)
class ValueSettings:
    value: Annotated[float, "what to yield"] = 2.0


class Set(Evaluator):
    def __init__(self, settings: ValueSettings) -> None:
        self.settings = settings

    def evaluate(self, context: EvaluationContext) -> Iterable[Score]:
        yield one(self.settings.value)


class Broken(Evaluator):
    def evaluate(self, context: EvaluationContext) -> Iterable[Score]:
        yield one(name="before")
        raise ZeroDivisionError("float division")


class Inapplicable(Evaluator):
    def evaluate(self, context: EvaluationContext) -> Iterable[Score]:
        raise NotApplicable("needs wings", "grow some")


class Nan(Evaluator):
    def evaluate(self, context: EvaluationContext) -> Iterable[Score]:
        yield one(float("nan"))


class HiddenNan(Evaluator):
    def evaluate(self, context: EvaluationContext) -> Iterable[Score]:
        yield one().model_copy(update={"details": {"part": float("inf")}})


class Trick(Evaluator):
    def evaluate(self, context: EvaluationContext) -> Iterator[Sheet]:
        yield Sheet(name="../../elsewhere", columns=("a",), rows=((1,),))


class NanCheck(Evaluator):
    def evaluate(self, context: EvaluationContext) -> Iterator[Check]:
        yield Check(name="units", value=float("nan"), flagged=False, rule="at least 1", meaning="None is used.")


class Private(Evaluator):
    def evaluate(self, context: EvaluationContext) -> Iterator[Score]:
        Path("/nowhere/jane/net.pth").read_bytes()
        yield one()


class NoScore(Evaluator):
    def evaluate(self, context: EvaluationContext) -> Iterable[Score]:
        yield 3  # type: ignore[misc]


class Exits(Evaluator):
    def evaluate(self, context: EvaluationContext) -> Iterable[Score]:
        raise SystemExit(3)


class Sampling(Evaluator):
    def evaluate(self, context: EvaluationContext) -> Iterable[Score]:
        images = torch.cat(list(context.samples(20)))
        yield one(images.float().mean().item())


EVALUATORS = (
    *(Thorough, Good, Random, Set, Broken, Inapplicable, Nan, HiddenNan, Trick, NanCheck, Private, NoScore, Exits),
    Sampling,
)


class Declaring:
    @genbench.hookimpl
    def genbench_evaluators(self) -> Iterator[genbench.EvaluatorSpec]:
        for cls in EVALUATORS:
            settings = "evaluators:ValueSettings" if cls is Set else None
            yield genbench.EvaluatorSpec(cls.__name__.lower(), "", f"evaluators:{cls.__name__}", settings, version=7)


@pytest.fixture
def plugins(monkeypatch: pytest.MonkeyPatch) -> Plugins:
    # pytest imports this file under a name that is no target's; resolve in its own namespace instead.
    monkeypatch.setattr(Plugins, "resolve", lambda self, target: globals()[target.partition(":")[2]])
    return Plugins.of(Declaring())


def run(context: EvaluationContext, plugins: Plugins, *names: str, **settings: Any) -> Evaluation:
    said: list[str] = []
    components = tuple(EvaluatorConfig(name=name, settings=settings) for name in names)
    found = evaluate(context, plugins, components, said.append)
    assert len(said) >= len(names)
    return found


def test_protocols_are_completed(build: Build, plugins: Plugins) -> None:
    (score,) = run(build(), plugins, "good").scores
    assert score.protocol == {
        "split": "test",
        "evaluator": "good",
        "evaluator_version": 7,
        "dataset": "noise",
        "dataset_size": SIZE,
        "dataset_fingerprint": "f" * 64,
    }


def test_what_goes_wrong_costs_no_other_its_score(build: Build, plugins: Plugins) -> None:
    found = run(build(), plugins, "broken", "inapplicable", "nan", "hiddennan", "noscore", "exits", "missing", "good")
    assert [s.name for s in found.scores] == ["before", "one"]
    assert [(u.evaluator, u.reason) for u in found.skipped] == [("inapplicable", "needs wings")]
    reasons = {u.evaluator: u.reason for u in found.failures}
    assert set(reasons) == {"broken", "nan", "hiddennan", "noscore", "exits", "missing"}
    assert reasons["broken"] == "ZeroDivisionError: float division"
    assert reasons["nan"] == "score's value is not a finite number"
    assert reasons["hiddennan"] == "`one`: part is not a finite number"
    assert "yielded int, expected Score" in reasons["noscore"]
    assert "unknown evaluator `missing`" in reasons["missing"]


def test_a_diverged_models_images_fail_and_the_rest_is_kept(build: Build, plugins: Plugins) -> None:
    found = run(build(Diverged()), plugins, "sampling", "good")
    assert [u.evaluator for u in found.failures] == ["sampling"]
    assert "not finite" in found.failures[0].reason
    assert [s.name for s in found.scores] == ["one"]


def test_settings_reach_the_evaluator(build: Build, plugins: Plugins) -> None:
    assert run(build(), plugins, "set").scores[0].value == 2.0
    assert run(build(), plugins, "set", value=5.0).scores[0].value == 5.0
    assert "no setting `valu`" in run(build(), plugins, "set", valu=5.0).failures[0].reason


def test_scores_depend_on_neither_the_order_nor_the_callers_randomness(build: Build, plugins: Plugins) -> None:
    torch.manual_seed(1)
    forth = run(build(Noisy()), plugins, "random", "sampling").scores
    torch.manual_seed(2)
    back = run(build(Noisy()), plugins, "sampling", "random").scores
    assert {(s.protocol["evaluator"], s.value) for s in forth} == {(s.protocol["evaluator"], s.value) for s in back}
    assert run(build(seed=1), plugins, "random").scores[0].value != forth[0].value


def test_precision_is_full_meanwhile_and_as_before_afterwards(
    build: Build, plugins: Plugins, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    monkeypatch.setattr(
        Good, "evaluate", lambda self, context: seen.append(torch.get_float32_matmul_precision()) or [one()]
    )
    torch.set_float32_matmul_precision("high")
    try:
        run(build(), plugins, "good")
        assert seen == ["highest"]
        assert torch.get_float32_matmul_precision() == "high"
    finally:
        torch.set_float32_matmul_precision("highest")


def test_checks_sheets_and_warnings_are_kept_apart_from_scores(build: Build, plugins: Plugins) -> None:
    said: list[str] = []
    found = evaluate(build(), plugins, (EvaluatorConfig(name="thorough"),), said.append)
    assert found is not None
    assert [(s.name, s.warnings) for s in found.scores] == [("one", ("too small",))]
    assert [(c.name, c.flagged) for c in found.checks] == [("variance", True), ("units", False)]
    assert [s.name for s in found.sheets] == ["pairs"]
    assert said[1:] == [
        "one 1",
        "warning: one: too small",
        "warning: variance is 0.01, not at least 0.3: it has collapsed",
    ]


def test_each_evaluator_has_its_own_samples(build: Build, plugins: Plugins, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr(Good, "evaluate", lambda self, context: seen.append(context.sampling.samples) or [one()])
    components = [EvaluatorConfig(name="good", sampling=SamplingConfig(samples=n)) for n in (5, 6)]
    context = build()
    evaluate(context, plugins, tuple(components), lambda _: None)
    assert seen == [5, 6]
    assert context.sampling == SamplingConfig()


def test_the_label_names_a_variant(build: Build, plugins: Plugins) -> None:
    parts = tuple(EvaluatorConfig(name=name, variant="x") for name in ("good", "inapplicable", "broken"))
    found = evaluate(build(), plugins, parts, lambda _: None)
    assert found is not None
    assert found.scores[0].protocol["evaluator"] == "good:x"
    assert [u.evaluator for u in (*found.skipped, *found.failures)] == ["inapplicable:x", "broken:x"]


def test_a_sheet_becomes_a_file(tmp_path: Path) -> None:
    sheet = Sheet(name="pairs", columns=("a", "b,c"), rows=((1, 0.1 + 0.2), ("x", None)))
    for _ in range(2):
        write_sheet(sheet, tmp_path / "tables")
    assert (tmp_path / "tables" / "pairs.csv").read_text() == 'a,"b,c"\n1,0.30000000000000004\nx,\n'
    with pytest.raises(ValueError, match="pattern"):
        Sheet(name="../pairs", columns=(), rows=())


def test_what_is_wrong_with_a_check_or_a_sheet_is_said(build: Build, plugins: Plugins) -> None:
    reasons = {u.evaluator: u.reason for u in run(build(), plugins, "trick", "nancheck").failures}
    assert reasons["trick"].startswith("sheet's name: String should match pattern")
    assert reasons["nancheck"] == "check's value is not a finite number"


def test_folders_are_told_and_not_recorded(build: Build, plugins: Plugins) -> None:
    said: list[str] = []
    found = evaluate(build(), plugins, (EvaluatorConfig(name="private"),), said.append)
    assert found is not None
    assert found.failures[0].reason == "FileNotFoundError: [Errno 2] No such file or directory: 'net.pth'"
    assert "/nowhere/jane/net.pth" in said[-1]
