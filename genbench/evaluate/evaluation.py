"""Running evaluators one by one, each on its own: what one can't do, or does wrong, costs no other its scores."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import isfinite

import torch
from pydantic import ValidationError

from genbench.config import EvaluatorConfig
from genbench.errors import GenbenchError, NotApplicable, explained, recordable
from genbench.evaluate.context import EvaluationContext
from genbench.networks import seeded
from genbench.plugins import Plugins
from genbench.records import Check, Scalar, Score, Sheet, Unscored
from genbench.resolution import build_part
from genbench.specs import EvaluatorSpec


@dataclass(frozen=True)
class Evaluation:
    """What evaluators made of a model.

    Attributes:
        scores: with complete protocols, in the order of the evaluators.
        skipped: what does not apply, and why.
        failures: what went wrong, and how; scores that the evaluator yielded before are kept.
        checks: signs of health.
        sheets: tables too large for a record.
        done: the evaluators that have had their turn.
    """

    scores: tuple[Score, ...] = ()
    skipped: tuple[Unscored, ...] = ()
    failures: tuple[Unscored, ...] = ()
    checks: tuple[Check, ...] = ()
    sheets: tuple[Sheet, ...] = ()
    done: tuple[EvaluatorConfig, ...] = ()


@dataclass
class _Findings:
    scores: list[Score] = field(default_factory=list)
    checks: list[Check] = field(default_factory=list)
    sheets: list[Sheet] = field(default_factory=list)
    skipped: list[Unscored] = field(default_factory=list)
    failures: list[Unscored] = field(default_factory=list)
    done: list[EvaluatorConfig] = field(default_factory=list)

    def so_far(self) -> Evaluation:
        return Evaluation(
            tuple(self.scores),
            tuple(self.skipped),
            tuple(self.failures),
            tuple(self.checks),
            tuple(self.sheets),
            tuple(self.done),
        )


def evaluate(
    context: EvaluationContext,
    plugins: Plugins,
    components: tuple[EvaluatorConfig, ...],
    report: Callable[[str], None],
    stop: Callable[[], bool] = lambda: False,
    keep: Callable[[Evaluation], None] = lambda _: None,
) -> Evaluation | None:
    """Run the evaluators on a model; `report` gets a line for each score, skip and failure.

    Returns None where `stop`, asked before each evaluator, said so; `keep` is given what there is so far after each.
    Raises nothing that an evaluator raises, unless
    the device is out of memory: that says nothing of the evaluator, and trying again may help.
    """
    findings = _Findings()
    for component in components:
        if stop():
            return None
        report(f"evaluating {component.label}")
        try:
            with (
                exact(),
                torch.no_grad(),
                seeded(context.seed("evaluator", component.label)),
                context.given(component.sampling),
            ):
                _run(context, plugins, component, findings, report)
        except NotApplicable as error:
            # The hint is for whoever runs it, and may name folders of theirs; the record is for everybody.
            findings.skipped.append(Unscored(evaluator=component.label, reason=recordable(error.message)))
            report(f"{component.label} skipped: {_explain(error)}")
        except torch.OutOfMemoryError:
            raise
        except (Exception, SystemExit) as error:  # an evaluator may be anyone's code
            findings.failures.append(Unscored(evaluator=component.label, reason=recordable(_explain(error))))
            report(f"{component.label} failed: {_explain(error)}")
        findings.done.append(component)
        keep(findings.so_far())
    return findings.so_far()


def _run(
    context: EvaluationContext,
    plugins: Plugins,
    component: EvaluatorConfig,
    findings: _Findings,
    report: Callable[[str], None],
) -> None:
    spec = plugins.evaluator(component.name)
    for found in build_part(plugins, spec, component.settings).evaluate(context):
        match found:
            case Score():
                _check_finite(found)
                protocol = dict(found.protocol) | _provenance(context, component, spec)
                findings.scores.append(found.model_copy(update={"protocol": protocol, "origin": component.key}))
                report(f"{found.name} {found.value:.6g}")
                for warning in found.warnings:
                    report(f"warning: {found.name}: {warning}")
            case Check():
                findings.checks.append(found)
                if found.flagged:
                    report(f"warning: {found.flag}")
            case Sheet():
                findings.sheets.append(found)
            case _:
                raise GenbenchError(f"evaluator `{spec.name}` yielded {type(found).__name__}, expected Score")


def _provenance(context: EvaluationContext, component: EvaluatorConfig, spec: EvaluatorSpec) -> dict[str, Scalar]:
    data = context.dataset
    return {
        "evaluator": component.label,
        "evaluator_version": spec.version,
        "dataset": data.name,
        "dataset_size": data.size,
        "dataset_fingerprint": data.fingerprint,
    }


def _check_finite(score: Score) -> None:
    # A Score validates itself, unless it was built by `model_construct` or `model_copy`.
    named = {"value": score.value, "uncertainty": score.uncertainty, **score.details}
    for name, value in named.items():
        if value is not None and not isfinite(value):
            raise GenbenchError(f"`{score.name}`: {name} is not a finite number")


_YIELDED = tuple(cls.__name__ for cls in (Score, Check, Sheet))


def _explain(error: BaseException) -> str:
    if isinstance(error, ValidationError) and error.title in _YIELDED:
        return "; ".join(_explain_field(error.title.lower(), *part) for part in _fields(error))
    return explained(error)


def _fields(error: ValidationError) -> Iterator[tuple[str, str, str]]:
    for part in error.errors(include_url=False):
        yield ".".join(map(str, part["loc"])), part["type"], part["msg"]


def _explain_field(whose: str, place: str, kind: str, message: str) -> str:
    wrong = " is not a finite number" if kind == "finite_number" else f": {message}"
    return f"{whose}'s {place}{wrong}"


@contextmanager
def exact() -> Iterator[None]:
    """Compute in full float32 and with deterministic convolutions, whatever training does, as every protocol says."""
    cudnn = torch.backends.cudnn
    before = (cudnn.allow_tf32, cudnn.deterministic, cudnn.benchmark, torch.get_float32_matmul_precision())
    cudnn.allow_tf32, cudnn.deterministic, cudnn.benchmark = False, True, False
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        cudnn.allow_tf32, cudnn.deterministic, cudnn.benchmark = before[:3]
        torch.set_float32_matmul_precision(before[3])
