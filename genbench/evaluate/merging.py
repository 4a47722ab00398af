"""Scores asked of a run that has been scored before: which are missing, and one record of both."""

from typing import Any

from genbench.config import EvaluationConfig, EvaluatorConfig
from genbench.errors import GenbenchError
from genbench.records import Plugin, Record, Score


def missing(
    earlier: Record, asked: EvaluationConfig, *, retry_unscored: bool = False, again: bool = False
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
    of the later evaluators. Checks are replaced one by one.

    Raises:
        GenbenchError: the records are of different weights.
    """
    if None not in (earlier.weights_sha256, later.weights_sha256) and earlier.weights_sha256 != later.weights_sha256:
        raise GenbenchError(
            f"the weights are not those that were scored (SHA-256 {str(later.weights_sha256)[:8]}…, the record says "
            f"{str(earlier.weights_sha256)[:8]}…)",
            "scores of different weights can't stand in one record; move the run's folder away to train anew",
        )
    new = _listed(later)
    labels, names = {c.label for c in new}, {c.name for c in new}
    listed = [c for c in _listed(earlier) if not any(_stands_in(other, c) for other in new)]
    evaluation = EvaluationConfig(evaluators=(*listed, *new))
    checked = {check.name for check in later.checks}
    return earlier.model_copy(
        update={
            "config": {**earlier.config, "evaluation": evaluation.model_dump(mode="json")},
            "plugins": (
                *(p for p in earlier.plugins if not (_is_evaluator(p) and p.name in names)),
                *(p for p in later.plugins if _is_evaluator(p)),
            ),
            "scores": (*(s for s in earlier.scores if not any(_replaces(c, s) for c in new)), *later.scores),
            "skipped": (*(u for u in earlier.skipped if u.evaluator not in labels), *later.skipped),
            "failures": (*(u for u in earlier.failures if u.evaluator not in labels), *later.failures),
            "checks": (*(c for c in earlier.checks if c.name not in checked), *later.checks),
            "weights_sha256": later.weights_sha256 or earlier.weights_sha256,
            "cost": earlier.cost.model_copy(
                update={"evaluate_s": earlier.cost.evaluate_s + later.cost.evaluate_s},
            ),
            "finished_utc": later.finished_utc,
        }
    )


def _replaces(component: EvaluatorConfig, score: Score) -> bool:
    """Whether an evaluator that has run again makes one of its earlier scores obsolete."""
    if score.protocol.get("evaluator") != component.label:
        return False
    sampled = "sampler" in score.protocol
    return not sampled or component.sampling.facts().items() <= score.protocol.items()


def _stands_in(new: EvaluatorConfig, old: EvaluatorConfig) -> bool:
    return (new.label, new.sampling) == (old.label, old.sampling)


def _listed(record: Record) -> list[EvaluatorConfig]:
    """Return the evaluators in a record's configuration; those that make no sense now are left out."""
    evaluation = record.config.get("evaluation")
    if not isinstance(evaluation, dict):
        return []
    # Until 2026-11 there was one number of samples for all evaluators.
    common = {"sampling": {"samples": evaluation["samples"]}} if "samples" in evaluation else {}
    return [found for each in evaluation.get("evaluators", ()) if (found := _read(common | each))]


def _read(value: dict[str, Any]) -> EvaluatorConfig | None:
    try:
        return EvaluatorConfig.model_validate(value)
    except ValueError:
        return None


def _is_evaluator(plugin: Plugin) -> bool:
    return plugin.kind == "evaluator"
