"""What a check is, and how the checks of a part are carried out. Imports no torch.

A check is a function that is given a subject and returns what it found, in a few words. It raises `CheckFailed` where
the part breaks its promise, and `NotApplicable` where there is nothing to be checked, or no means to do it.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal, get_args

from genbench.errors import GenbenchError, NotApplicable, unknown_name
from genbench.findings import Finding
from genbench.isolation import Guard, reason
from genbench.plugins import Plugins
from genbench.resolution import by_section
from genbench.specs import Spec
from genbench.testing.checks import BUILDS, CHECKS, SECTIONS, SUBJECTS

Kind = Literal["similarity", "model", "evaluator", "dataset", "extractor"]
KINDS: tuple[Kind, ...] = get_args(Kind)


class CheckFailed(GenbenchError):
    """A part breaks a promise: what was found and what was expected, and a hint that says how to mend it."""

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message, hint, exit_code=1)


@dataclass(frozen=True)
class Subject(ABC):
    """A part of some kind, which each check builds anew, so that none sees what another has done to it.

    Attributes:
        name: as the user typed it, with a variant where it has one.
        settings: `key=value` texts, named as for `genbench run -s`.
        device: on which it is tried beside the CPU; `cpu` where it is tried on nothing else, never `auto`.
    """

    plugins: Plugins
    name: str
    settings: tuple[str, ...] = ()
    device: str = "cpu"

    @property
    @abstractmethod
    def spec(self) -> Spec:
        """Return the declaration.

        Raises:
            GenbenchError: nothing has the name.
        """

    @abstractmethod
    def check_settings(self) -> None:
        """Raise a GenbenchError where a setting is none of this part's, or has a value that it can't have."""

    @abstractmethod
    def build(self) -> Any:
        """Return the part, built anew, on the CPU.

        Raises:
            NotApplicable: something that it needs can't be had here.
            CheckFailed: it is not what its kind should be.
        """


Check = Callable[[Any], str]


def make_subject(plugins: Plugins, kind: str, name: str, settings: Sequence[str] = (), device: str = "auto") -> Subject:
    """Return what the checks of a kind are given.

    Raises:
        GenbenchError: there is no such kind, name, setting or device.
    """
    from genbench.execution import choose_device

    if kind not in SUBJECTS:
        raise unknown_name("kind", kind, KINDS)
    _expect_own(kind, settings)
    subject: Subject = _find(SUBJECTS[kind])(plugins, name, tuple(settings), str(choose_device(device)))
    _ = subject.spec  # raises where nothing has the name
    if settings:
        subject.check_settings()
    return subject


def _expect_own(kind: str, settings: Sequence[str]) -> None:
    """Raise a GenbenchError where a setting is another kind's."""
    own = SECTIONS[kind]
    for section, values in by_section(settings).items():
        if values and section != own:
            raise GenbenchError(
                f"a setting of the section `{section}`: this kind, {kind}, is checked with its own settings alone",
                "it has none" if own is None else "they have no dot" if own == "model" else f"they begin with `{own}.`",
            )


def carry_out(
    plugins: Plugins, kind: str, name: str, settings: Sequence[str] = (), device: str = "auto"
) -> Iterator[Finding]:
    """Carry out all checks of a part, one after the other; none stops another.

    Where it can't be built, all others are skipped.

    Raises:
        GenbenchError: there is no such kind, name, setting or device.
    """
    subject = make_subject(plugins, kind, name, settings, device)
    return carry_out_on(subject, CHECKS[kind])


def carry_out_on(subject: Subject, checks: Sequence[tuple[str, str]]) -> Iterator[Finding]:
    """Carry out some checks of a subject, as `carry_out` does."""
    first = finding(subject, BUILDS, builds)
    yield first
    for name, place in checks:
        if first.state == "ok":
            yield finding(subject, name, _find(place))
        else:
            told = first.found if first.state == "skipped" else "it can't be built"
            yield Finding(name, "skipped", told, first.hint if first.state == "skipped" else None)


def finding(subject: Subject, name: str, check: Check) -> Finding:
    """Carry out one check and return what came of it, whatever the part's own code raises."""
    found = ""
    with Guard() as guard:
        found = perform(check, subject)
    match guard.error:
        case None:
            return Finding(name, "ok", found)
        case NotApplicable() as error:
            return Finding(name, "skipped", error.message, error.hint)
        case GenbenchError() as error:
            return Finding(name, "failed", error.message, error.hint)
        case error:
            return Finding(name, "failed", reason(error), f"this is for the author of `{subject.name}` to mend")


def perform(check: Check, subject: Subject) -> str:
    """Carry out one check and return what it found, or let through what it raises.

    It computes on one thread of the CPU: what is small loses more by waiting for others than it wins.
    """
    from genbench.doctor.threads import one_thread

    with one_thread():
        return check(subject)


def find_check(kind: str, name: str) -> Check:
    """Return one check by its name."""
    return builds if name == BUILDS else _find(dict(CHECKS[kind])[name])


def builds(subject: Subject) -> str:
    """Build the part, with its settings or the defaults."""
    return type(subject.build()).__name__


def _find(place: str) -> Any:
    module, _, name = place.partition(":")
    return getattr(import_module(module), name)
