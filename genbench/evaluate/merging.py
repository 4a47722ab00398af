"""Scores asked of a run that has been scored before: which are missing, and one record of both."""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, Protocol

from genbench.config import EvaluationConfig, EvaluatorConfig
from genbench.errors import GenbenchError
from genbench.records import Plugin, Record, Score, Unscored


class Verdict(Protocol):
    """What of an evaluator that gave no score tells which it is."""

    @property
    def evaluator(self) -> str: ...


class Scored(Protocol):
    """What of a record, or of its digest, tells which evaluators it has."""

    @property
    def config(self) -> Mapping[str, object]: ...

    @property
    def skipped(self) -> Sequence[Verdict]: ...

    @property
    def failures(self) -> Sequence[Verdict]: ...


def missing(
    earlier: Scored, asked: EvaluationConfig, *, retry_unscored: bool = False, again: bool = False
) -> tuple[EvaluatorConfig, ...]:
    """Return the evaluators asked for that a record lacks with these settings and these samples.

    Args:
        earlier: the record.
        asked: what is asked for.
        retry_unscored: whether one that it lists as skipped or failed has another turn.
        again: whether all have.
    """
    listed = [c.model_dump(mode="json") for c in _listed(earlier)]
    unscored = {entry.evaluator for entry in (*earlier.skipped, *earlier.failures)} if retry_unscored else set()
    return tuple(c for c in asked.evaluators if again or c.label in unscored or c.model_dump(mode="json") not in listed)


def merge(earlier: Record, later: Record) -> Record:
    """Return a run's record with the evaluators of a later record of the same weights added.

    All that is not about these evaluators stays as the earlier record has it; so do scores on other samples than those
    of the later evaluators, and those of an evaluator that gave none this time. Checks are replaced one by one.

    Raises:
        GenbenchError: the records are of different weights.
    """
    if None not in (earlier.weights_sha256, later.weights_sha256) and earlier.weights_sha256 != later.weights_sha256:
        raise GenbenchError(
            f"the weights are not those that were scored (SHA-256 {str(later.weights_sha256)[:8]}…, the record says "
            f"{str(earlier.weights_sha256)[:8]}…)",
            "scores of different weights can't stand in one record; move the run's folder away to train anew",
        )
    before = _listed(earlier)
    new = [c for c in _listed(later) if not _in_vain(c, before, earlier, later)]
    labels, names = {c.label for c in new}, {c.name for c in new}
    replaced = [c for c in before if any(_stands_in(other, c) for other in new)]
    evaluation = EvaluationConfig(evaluators=(*(c for c in before if c not in replaced), *new))
    checked = {check.name for check in later.checks}
    return earlier.model_copy(
        update={
            "config": {**earlier.config, "evaluation": evaluation.model_dump(mode="json")},
            "plugins": (
                *(p for p in earlier.plugins if not (_is_evaluator(p) and p.name in names)),
                *(p for p in later.plugins if _is_evaluator(p) and p.name in names),
            ),
            "scores": (*(s for s in earlier.scores if not _is_obsolete(s, replaced, later)), *later.scores),
            "skipped": _unscored(earlier.skipped, later.skipped, labels),
            "failures": _unscored(earlier.failures, later.failures, labels),
            "checks": (*(c for c in earlier.checks if c.name not in checked), *later.checks),
            "weights_sha256": later.weights_sha256 or earlier.weights_sha256,
            "cost": earlier.cost.model_copy(
                update={"evaluate_s": earlier.cost.evaluate_s + later.cost.evaluate_s},
            ),
            "finished_utc": later.finished_utc,
        }
    )


def _in_vain(component: EvaluatorConfig, before: Sequence[EvaluatorConfig], earlier: Record, later: Record) -> bool:
    """Whether an evaluator that has run again gave nothing, where it once gave scores: its weights may be gone."""
    tried = {entry.evaluator for entry in (*later.skipped, *later.failures)}
    known = [c for c in before if _stands_in(component, c)]
    return (
        component.label in tried
        and not any(score.origin == component.key for score in later.scores)
        and any(_came_of(score, known) for score in earlier.scores)
    )


def _is_obsolete(score: Score, replaced: Sequence[EvaluatorConfig], later: Record) -> bool:
    """Whether an earlier score has been computed again: by an evaluator that stands in for its own, or as it is."""
    again = any((score.name, score.protocol) == (other.name, other.protocol) for other in later.scores)
    return again or _came_of(score, replaced)


def _came_of(score: Score, components: Sequence[EvaluatorConfig]) -> bool:
    if score.origin is None:  # of before scores knew it
        return score.protocol.get("evaluator") in {c.label for c in components}
    return score.origin in {c.key for c in components}


def _unscored(
    earlier: tuple[Unscored, ...], later: tuple[Unscored, ...], labels: AbstractSet[str]
) -> tuple[Unscored, ...]:
    """Return what is known of evaluators without scores, of those with these labels from the later record."""
    return (*(u for u in earlier if u.evaluator not in labels), *(u for u in later if u.evaluator in labels))


def _stands_in(new: EvaluatorConfig, old: EvaluatorConfig) -> bool:
    return (new.label, new.sampling) == (old.label, old.sampling)


def _listed(record: Scored) -> list[EvaluatorConfig]:
    """Return the evaluators in a record's configuration; those that make no sense now are left out."""
    evaluation = record.config.get("evaluation")
    if not isinstance(evaluation, dict):
        return []
    # Records of before evaluators had samples of their own hold one number for all.
    common = {"sampling": {"samples": evaluation["samples"]}} if "samples" in evaluation else {}
    return [found for each in evaluation.get("evaluators", ()) if (found := _read(common | each))]


def _read(value: dict[str, Any]) -> EvaluatorConfig | None:
    try:
        return EvaluatorConfig.model_validate(value)
    except ValueError:
        return None


def _is_evaluator(plugin: Plugin) -> bool:
    return plugin.kind == "evaluator"
