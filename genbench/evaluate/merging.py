"""Scores asked of a run that has been scored before: which are missing, and one record of both."""

from collections.abc import Iterator, Sequence, Set
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
    before = _listed(earlier)
    listed = [c for c in before if not any(_stands_in(other, c) for other in new)]
    evaluation = EvaluationConfig(evaluators=(*listed, *new))
    checked = {check.name for check in later.checks}
    return earlier.model_copy(
        update={
            "config": {**earlier.config, "evaluation": evaluation.model_dump(mode="json")},
            "plugins": (
                *(p for p in earlier.plugins if not (_is_evaluator(p) and p.name in names)),
                *(p for p in later.plugins if _is_evaluator(p)),
            ),
            "scores": (*(s for s in earlier.scores if not _is_obsolete(s, before, later, new)), *later.scores),
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


def _is_obsolete(
    score: Score, before: Sequence[EvaluatorConfig], later: Record, new: Sequence[EvaluatorConfig]
) -> bool:
    """Whether an earlier score has been computed again: by an evaluator of its label on the same samples, or as it is.

    Args:
        before: the evaluators of the earlier record.
        new: those of the later one.
    """
    if any((score.name, score.protocol) == (other.name, other.protocol) for other in later.scores):
        return True
    return any(_replaces(component, before, score) for component in new)


def _replaces(component: EvaluatorConfig, before: Sequence[EvaluatorConfig], score: Score) -> bool:
    if score.protocol.get("evaluator") != component.label:
        return False
    if "sampler" not in score.protocol:
        return True
    same = [component, *(other for other in before if _stands_in(component, other))]
    others = {c.sampling.samples for c in before if c.label == component.label} - {component.sampling.samples}
    return any(facts.items() <= score.protocol.items() for each in same for facts in _sampled(each, others))


def _sampled(component: EvaluatorConfig, others: Set[int]) -> Iterator[dict[str, str | int]]:
    """Yield what protocols of a component's scores may say of its samples: all, or as many as its setting `images`.

    Args:
        others: so many images are those of other components.
    """
    facts, images = component.sampling.facts(), component.settings.get("images")
    yield facts
    if isinstance(images, int) and images < component.sampling.samples and images not in others:
        yield facts | {"generated_images": images}


def _stands_in(new: EvaluatorConfig, old: EvaluatorConfig) -> bool:
    return (new.label, new.sampling) == (old.label, old.sampling)


def _listed(record: Record) -> list[EvaluatorConfig]:
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
