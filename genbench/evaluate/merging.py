"""Scores asked of a run that has been scored before: which are missing, and one record of both."""

from typing import Any

from genbench.config import Component, EvaluationConfig
from genbench.records import Plugin, Record


def missing(earlier: Record, asked: EvaluationConfig, *, retry_unscored: bool) -> tuple[Component, ...]:
    """Return the evaluators asked for that a record lacks with these settings and this number of samples.

    One that it lists as skipped or failed has had its turn, unless `retry_unscored`.
    """
    listed = _listed(earlier, asked.samples)
    unscored = {entry.evaluator for entry in (*earlier.skipped, *earlier.failures)} if retry_unscored else set()
    return tuple(c for c in asked.evaluators if c.name in unscored or c.model_dump(mode="json") not in listed)


def merge(earlier: Record, later: Record) -> Record:
    """Return a run's record with the evaluators of a later record of the same weights added.

    All that is not about these evaluators stays as the earlier record has it. Those with another number of samples
    than the later ones keep their scores, whose protocols tell it, but are listed no more: asked for again, they are
    computed anew.
    """
    evaluation: dict[str, Any] = dict(later.config["evaluation"])  # type: ignore[call-overload]
    anew = [component["name"] for component in evaluation["evaluators"]]
    listed = [c for c in _listed(earlier, evaluation["samples"]) if c["name"] not in anew]
    return earlier.model_copy(
        update={
            "config": {**earlier.config, "evaluation": evaluation | {"evaluators": listed + evaluation["evaluators"]}},
            "plugins": (
                *(p for p in earlier.plugins if not (_is_evaluator(p) and p.name in anew)),
                *(p for p in later.plugins if _is_evaluator(p)),
            ),
            "scores": (*(s for s in earlier.scores if s.protocol.get("evaluator") not in anew), *later.scores),
            "skipped": (*(u for u in earlier.skipped if u.evaluator not in anew), *later.skipped),
            "failures": (*(u for u in earlier.failures if u.evaluator not in anew), *later.failures),
            "cost": earlier.cost.model_copy(
                update={"evaluate_s": earlier.cost.evaluate_s + later.cost.evaluate_s},
            ),
            "finished_utc": later.finished_utc,
        }
    )


def _listed(record: Record, samples: int) -> list[dict[str, Any]]:
    """Return the evaluators in a record's configuration, as JSON; none where they had another number of samples."""
    evaluation = record.config.get("evaluation")
    if not isinstance(evaluation, dict) or evaluation.get("samples") != samples:
        return []
    return list(evaluation.get("evaluators", ()))


def _is_evaluator(plugin: Plugin) -> bool:
    return plugin.kind == "evaluator"
