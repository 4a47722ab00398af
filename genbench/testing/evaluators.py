"""Checks of an evaluator: what leaderboards rely on.

It is given no trained model but an oracle, whose quality is known.
"""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from math import isfinite

from genbench.config import SamplingConfig
from genbench.errors import GenbenchError, NotApplicable, in_one_line
from genbench.records import Score
from genbench.testing.evaluators_comparing import expect_alike, expect_told, moved
from genbench.testing.evaluators_context import FEWER, SAMPLES, USUAL, Circumstances, EvaluatorSubject, Found
from genbench.testing.evaluators_direction import direction
from genbench.testing.evaluators_settings import alternatives, every_setting
from genbench.testing.generators import other_states
from genbench.testing.interface import CheckFailed

__all__ = ["EvaluatorSubject", "direction"]

ERRORS = 3.0
"""Difference that the order of images may make, in standard errors: subsets may be drawn by their places."""

FEWER_SAMPLES = SamplingConfig(samples=SAMPLES.samples // 2)
OTHER_SAMPLES = (
    ("fewer samples", FEWER_SAMPLES),
    ("samples of a mixture", SamplingConfig(samples=SAMPLES.samples, sampler="gmm", gmm_components=3)),
)
OTHER_CIRCUMSTANCES: tuple[tuple[str, Circumstances], ...] = (
    ("a model without an encoder", replace(USUAL, encodes=False)),
    ("data without attributes", replace(USUAL, labelled=False)),
    ("a model without an encoder on data without attributes", replace(USUAL, encodes=False, labelled=False)),
    ("data that knows no changed images", replace(USUAL, knows=False)),
    ("a few grey images", replace(USUAL, channels=1, counts=(32, 16, 16))),
    ("a few images without attributes", replace(USUAL, counts=(8, 4, 4), labelled=False)),
    ("one image to test on", replace(USUAL, counts=(8, 4, 1))),
    ("no images to test on", replace(USUAL, counts=(8, 4, 0))),
)


def results(subject: EvaluatorSubject) -> str:
    """Check that what it yields is sound: finite values, and names that are there once."""
    found = subject.usual
    for kind, names in (
        ("scores", [score.name for score in found.scores]),
        ("checks", [check.name for check in found.checks]),
        ("sheets", [sheet.name for sheet in found.sheets]),
    ):
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise CheckFailed(f"two {kind} are called `{twice[0]}`", "give each a name of its own")
        if any(not name.strip() for name in names):
            raise CheckFailed(f"one of its {kind} has no name")
    for score in found.scores:
        wrong = [key for key, value in _numbers(score) if not isfinite(value)]
        if wrong:
            raise CheckFailed(
                f"`{score.name}`: {wrong[0]} is not finite", "build it with `Score(...)`, which refuses it"
            )
    for sheet in found.sheets:
        if any(len(row) != len(sheet.columns) for row in sheet.rows):
            raise CheckFailed(f"sheet `{sheet.name}` has rows of another length than its {len(sheet.columns)} columns")
    counts = (("score", len(found.scores)), ("check", len(found.checks)), ("sheet", len(found.sheets)))
    told = [f"{count} {name}{'s' if count > 1 else ''}" for name, count in counts if count]
    if not told:
        raise CheckFailed("it yields nothing", "raise NotApplicable where there is nothing to be told")
    return ", ".join(told)


def protocol(subject: EvaluatorSubject) -> str:
    """Check that protocols say what holds for all scores, and how many images were looked at."""
    found = subject.scored
    for score in found.scores:
        if "precision" not in score.protocol:
            raise CheckFailed(
                f"the protocol of `{score.name}` lacks what holds for all scores",
                "build it with `context.protocol(...)`",
            )
    fewer = subject.evaluate(replace(USUAL, arranged="fewer"))
    expect_told(
        found, fewer, f"with a {FEWER}th of the test images left out", "say how many images, and of which split"
    )
    return f"{max(len(score.protocol) for score in found.scores)} facts"


def settings(subject: EvaluatorSubject) -> str:
    """Check that a setting that moves a score stands in its protocol."""
    usual = every_setting(subject, subject.component.settings)
    if not usual:
        raise NotApplicable("it has no settings")
    found, tried = subject.scored, []
    for name, value in usual.items():
        for component in alternatives(subject, name):
            try:
                other = subject.evaluate(USUAL, component)
            except NotApplicable:
                continue
            words = f"with `{name}` {component.settings[name]} instead of {value}"
            expect_told(found, other, words, f"put `{name}` into its protocol")
            tried.append(name)
    untried = [name for name in usual if name not in tried]
    if not tried:
        raise NotApplicable(f"no other value could be tried of {', '.join(untried)}")
    left = f"; not tried: {', '.join(untried)}" if untried else ""
    return f"other values of {', '.join(dict.fromkeys(tried))}{left}"


def sampled(subject: EvaluatorSubject) -> str:
    """Check that `sampled` is declared where samples can move a score, and that protocols then say which they were."""
    _ = subject.scored
    moves = False
    for words, found, other in _with_other_samples(subject):
        expect_told(found, other, f"with {words}", "add `**context.facts(context.sampled())`")
        moves = moves or bool(moved(found, other)) or _protocols(found) != _protocols(other)
    if not subject.spec.sampled and moves:
        raise CheckFailed(
            "it declares that samples don't move its scores, but they do", "leave `sampled=True`, the default"
        )
    if subject.spec.sampled and not moves:
        raise CheckFailed(
            "it declares that samples move its scores, but they don't",
            "declare `sampled=False`: its scores are then kept when other samples are asked for",
        )
    return "samples move it, and it says so" if moves else "samples don't move it"


def batch_size(subject: EvaluatorSubject) -> str:
    """Check that nothing depends on how many images are computed at a time."""
    found = subject.usual
    off = 0.0
    for size in (7, 500):
        other = subject.evaluate(replace(USUAL, batch_size=size, cache=f"batches of {size}"))
        off = max(off, expect_alike(found, other, f"in batches of {size}", "put all batches together first"))
    return f"off by {off:.0e} at most"


def order(subject: EvaluatorSubject) -> str:
    """Check that scores do not depend on the order of the images, beyond what they say they are uncertain by."""
    found = subject.usual
    other = subject.evaluate(replace(USUAL, arranged="reversed", cache="reversed"))
    hint = "look at all images alike; where it takes some of them, say how uncertain that makes the score"
    off = expect_alike(found, other, "with the images in reverse order", hint, errors=ERRORS)
    return f"off by {off:.0e} at most"


def random_state(subject: EvaluatorSubject) -> str:
    """Check that a second evaluation gives the same, bit for bit, and that no global generator is drawn from."""
    before = other_states()
    first = subject.evaluate(USUAL)
    drawn = [name for name, state in other_states().items() if state != before[name]]
    hint = "draw from a generator seeded by `context.seed(...)`"
    if drawn:
        raise CheckFailed(f"it draws from {drawn[0]}'s global generator, which genbench does not seed", hint)
    second = subject.evaluate(replace(USUAL, cache="again"))
    other = [score.name for score, again in zip(first.scores, second.scores, strict=False) if score != again]
    if other or first != second:
        raise CheckFailed(f"a second evaluation gives {f'another `{other[0]}`' if other else 'something else'}", hint)
    return "the same again"


def untouched(subject: EvaluatorSubject) -> str:
    """Check that model and data are left as they were for the next evaluator."""
    _ = subject.usual
    context = subject.context(USUAL)
    images, sampling = context.dataset.images.copy(), context.sampling
    subject.evaluate_in(context)
    if context.model.training:
        raise CheckFailed("it leaves the model in training mode", "put it back with `model.eval()`")
    if not (images == context.dataset.images).all():
        raise CheckFailed("it changes the data set's images", "work on a copy")
    if context.sampling != sampling:
        raise CheckFailed("it changes the context's `sampling`", "ask for other samples by their number")
    return "model and data as they were"


def elsewhere(subject: EvaluatorSubject) -> str:
    """Check that where it can't be computed it says so, by NotApplicable, and raises nothing else."""
    _ = subject.usual
    told: list[str] = []
    skipped: list[str] = []
    for words, circumstances in OTHER_CIRCUMSTANCES:
        try:
            found = subject.evaluate(circumstances)
        except NotApplicable:
            skipped.append(words)
        except CheckFailed:
            raise
        except Exception as error:
            said = error.message if isinstance(error, GenbenchError) else in_one_line(error)
            raise CheckFailed(f"{words}: {said}", "raise `genbench.errors.NotApplicable`, with the reason") from error
        else:
            (told if found.scores or found.checks else skipped).append(words)
    return f"computed in {len(told)} circumstances, not applicable in {len(skipped)}"


def device(subject: EvaluatorSubject) -> str:
    """Check that it gives the same on the device."""
    if subject.device == "cpu":
        raise NotApplicable("there is no other device than the CPU here")
    found = subject.usual
    other = subject.evaluate(replace(USUAL, device=subject.device, cache="device"))
    off = expect_alike(found, other, f"on {subject.device}", "pick no device, and move no tensors", factor=100)
    return f"{subject.device}: off by {off:.0e} at most"


def _with_other_samples(subject: EvaluatorSubject) -> Iterator[tuple[str, Found, Found]]:
    """Yield what comes of other samples, beside what comes of the usual ones, with an encoder and without."""
    founds = [(USUAL, subject.usual)]
    without = replace(USUAL, encodes=False)
    with suppress(Exception):  # what else than NotApplicable it raises is for `elsewhere` to tell
        founds.append((without, subject.evaluate(without)))
    for circumstances, found in founds:
        for words, sampling in OTHER_SAMPLES:
            with suppress(NotApplicable):
                yield words, found, subject.evaluate(circumstances, sampling=sampling)


def _protocols(found: Found) -> list[tuple[str, object]]:
    return [(score.name, score.protocol) for score in found.scores]


def _numbers(score: Score) -> list[tuple[str, float]]:
    uncertain = [] if score.uncertainty is None else [("uncertainty", score.uncertainty)]
    return [("value", score.value), *uncertain, *score.details.items()]
