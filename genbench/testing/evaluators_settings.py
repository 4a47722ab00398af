"""Other values of an evaluator's settings."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from itertools import islice
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

from genbench.config import EvaluatorConfig
from genbench.errors import GenbenchError
from genbench.resolution import build_settings
from genbench.testing.evaluators_context import EvaluatorSubject

MOST = 3
"""Values that are tried of one setting."""


def every_setting(subject: EvaluatorSubject, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return all settings of the evaluator, also those that came later and have their default."""
    settings = build_settings(subject.plugins, subject.spec, given)
    return {} if settings is None else asdict(settings)


def alternatives(subject: EvaluatorSubject, name: str) -> Iterator[EvaluatorConfig]:
    """Yield the evaluator, all settings told, with some other values of one; none where no other can be thought of."""
    component, spec = subject.component, subject.spec
    usual = every_setting(subject, component.settings)

    def accepted() -> Iterator[EvaluatorConfig]:
        for value in _candidates(subject, name, usual[name]):
            try:
                values = every_setting(subject, usual | {name: value})
            except GenbenchError:
                continue
            if values[name] != usual[name]:
                variant = {"variant": str(value)} if name == spec.variant else {}
                yield component.model_copy(update={"settings": values, **variant})

    return islice(accepted(), MOST)


def _candidates(subject: EvaluatorSubject, name: str, old: object) -> list[Any]:
    match old:
        case bool():
            return [not old]
        case int():
            return [50, 10, 2, old // 2, 2 * old, old + 1]
        case float():
            return [0.5 * old, 2 * old, old + 0.1]
        case str():
            return [*_choices(subject, name), *_parts(subject, name)]
        case _:
            return []


def _choices(subject: EvaluatorSubject, name: str) -> tuple[Any, ...]:
    """Return what a setting's annotation lists."""
    assert subject.spec.settings is not None  # noqa: S101 - for the type checker: it has this setting
    hint = get_type_hints(subject.plugins.resolve(subject.spec.settings), include_extras=True)[name]
    while get_origin(hint) is Annotated:
        hint = get_args(hint)[0]
    return get_args(hint) if get_origin(hint) is Literal else ()


def _parts(subject: EvaluatorSubject, name: str) -> list[str]:
    """Return the names of parts that a variant names, of those that need neither weights nor training."""
    if name != subject.spec.variant:
        return []
    if name == "similarity":
        return ["mse", "l1"]
    return ["attributes"] if name == "extractor" else []
