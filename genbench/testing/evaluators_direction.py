"""Whether scores get worse, in the direction that they declare, as an oracle does."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import pairwise
from math import hypot

from genbench.distortions import BY_NAME
from genbench.errors import NotApplicable
from genbench.records import Score
from genbench.testing.evaluators_comparing import moved
from genbench.testing.evaluators_context import PLAIN, Circumstances, EvaluatorSubject, Found
from genbench.testing.evaluators_oracle import Grade
from genbench.testing.interface import CheckFailed

TOLD, WRONG = 2.0, 3.0
"""Standard errors from which on a score is taken for worse, and for better."""

ROUNDING = 1e-3
"""As a standard error, in shares of the range of a series: what rounding may make of a score without any."""


@dataclass(frozen=True)
class Series:
    """An oracle that gets worse, from perfect."""

    what: str
    grades: tuple[Grade, ...]


def _distorted(name: str, strengths: Sequence[float]) -> Series:
    return Series(name, tuple(Grade(BY_NAME[name], strength) for strength in strengths))


PICTURES = (_distorted("noise", (0.02, 0.1, 0.2)), _distorted("blur", (0.5, 1, 4)))
EDITS = (
    Series("other pictures", tuple(Grade(astray=share) for share in (0.1, 0.3, 0.9))),
    Series("warped latents", tuple(Grade(warped=by) for by in (0.1, 0.3, 1))),
)
"""For scores of edits: a picture too blurred to show an attribute loses nothing else when that is edited."""


def direction(subject: EvaluatorSubject) -> str:
    """Check that scores get worse step by step, in the direction that they declare, where the oracle does."""
    _ = subject.scored
    perfect = subject.evaluate(PLAIN)
    ranked = [score for score in perfect.scores if score.direction != "none"]
    if not ranked:
        raise NotApplicable("neither direction of its scores is better")
    # The classifier has learned the true labels either way, so that this moves scores of edits alone.
    mislabelled = subject.evaluate(replace(PLAIN, mislabelled=True))
    of_edits = {score.name for score, _ in moved(perfect, mislabelled)}
    asked = [*(PICTURES if len(of_edits) < len(ranked) else ()), *(EDITS if of_edits else ())]
    courses = {series: [perfect, *_evaluated(subject, series)] for series in asked}
    told = {score.name: _told(score, courses, EDITS if score.name in of_edits else PICTURES) for score in ranked}
    silent = [name for name, by in told.items() if not by]
    if len(silent) == len(told):
        raise NotApplicable(f"nothing that is done to the oracle moves {', '.join(silent)}")
    by = ", ".join(dict.fromkeys(series for each in told.values() for series in each))
    return f"worse with {by}" + (f"; not moved: {', '.join(silent)}" if silent else "")


def _evaluated(subject: EvaluatorSubject, series: Series) -> list[Found]:
    """Return what comes of each grade, but for those that can't be evaluated."""
    found = []
    for grade in series.grades:
        with suppress(NotApplicable):
            found.append(subject.evaluate(Circumstances(grade)))
    return found


def _told(score: Score, courses: Mapping[Series, Sequence[Found]], series: Sequence[Series]) -> list[str]:
    """Return the series that make a score worse; raise CheckFailed where one makes it better."""
    worse = []
    for each in series:
        steps = [s for found in courses[each] for s in found.scores if s.name == score.name]
        if _course(each.what, steps):
            worse.append(each.what)
    return worse


def _course(what: str, steps: Sequence[Score]) -> bool:
    """Say whether a series makes a score worse; raise CheckFailed where a step makes it better."""
    sign = 1 if steps[0].direction == "lower" else -1
    values = [step.value for step in steps]
    floor = ROUNDING * (max(values) - min(values))

    def worse(one: Score, two: Score) -> float:
        """Return by how many standard errors the second is worse than the first."""
        error = hypot(one.uncertainty or 0.0, two.uncertainty or 0.0, floor)
        return sign * (two.value - one.value) / error if error else 0.0

    better = [(one, two) for one, two in pairwise(steps) if worse(one, two) < -WRONG]
    if better or worse(steps[0], steps[-1]) < -WRONG:
        course = ", ".join(f"{value:.4g}" for value in values)
        raise CheckFailed(
            f"`{steps[0].name}` says that {steps[0].direction} is better, but is {course} with more and more {what}",
            "turn `direction` round; or declare `none`, where neither way is always better",
        )
    return any(worse(steps[0], step) > TOLD for step in steps[1:])
