"""Two evaluations held against each other."""

from genbench.records import Score
from genbench.testing.evaluators_context import Found
from genbench.testing.interface import CheckFailed

ROUNDING = 1e-4
"""Difference that rounding may make, in shares of a value or of its standard error, whichever is larger."""


def moved(found: Found, other: Found) -> list[tuple[Score, Score]]:
    """Return the scores of one name whose values are not the same but for rounding."""
    return [(one, two) for one, two in _pairs(found, other) if abs(one.value - two.value) > ROUNDING * _scale(one)]


def expect_told(found: Found, other: Found, words: str, hint: str) -> None:
    """Raise CheckFailed where a score is another one, but its protocol does not say so."""
    for one, two in moved(found, other):
        if one.protocol == two.protocol:
            raise CheckFailed(
                f"{words}, `{one.name}` is {two.value:.6g} instead of {one.value:.6g}, but its protocol is the same",
                hint,
            )


def expect_alike(found: Found, other: Found, words: str, hint: str, *, errors: float = 0, factor: float = 1) -> float:
    """Return by how much numbers differ at most, in shares of them; raise CheckFailed where it is too much.

    Args:
        errors: difference that is allowed, in standard errors; rounding is always. Signs of health have none, and are
            compared where rounding alone is allowed.
        factor: on what rounding may make.
    """
    ones, others = (_numbers(each, checks=not errors) for each in (found, other))
    if ones.keys() != others.keys():
        raise CheckFailed(f"{words}, it yields other results: {', '.join(sorted(ones.keys() ^ others.keys()))}", hint)
    off = 0.0
    for name, (value, error) in ones.items():
        again, other_error = others[name]
        scale = max(abs(value), error)
        if abs(again - value) > max(ROUNDING * factor * scale, errors * max(error, other_error)):
            raise CheckFailed(f"{words}, `{name}` is {again:.6g} instead of {value:.6g}", hint)
        off = max(off, abs(again - value) / scale if scale else 0.0)
    return off


def _numbers(found: Found, *, checks: bool) -> dict[str, tuple[float, float]]:
    """Return values by name, each with its standard error, 0 where there is none."""
    scores = {score.name: (score.value, score.uncertainty or 0.0) for score in found.scores}
    signs = {f"check {check.name}": (check.value, 0.0) for check in found.checks if check.value is not None}
    return scores | signs if checks else scores


def _pairs(found: Found, other: Found) -> list[tuple[Score, Score]]:
    others = {score.name: score for score in other.scores}
    return [(score, others[score.name]) for score in found.scores if score.name in others]


def _scale(score: Score) -> float:
    return max(abs(score.value), score.uncertainty or 0.0)
