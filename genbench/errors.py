"""Everything that a user can cause, as one exception with a message and a hint."""

import re
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path

_FOLDERS = re.compile(r"(?<![\w/:.~])(?:~|[A-Za-z]:)?[/\\]+(?:[^\s/\\'\"`:;,()]+[/\\]+)*(?=[^\s/\\])")
"""The folders of an absolute path, which begins after no letter: not those of an address, nor of `and/or`."""

LONGEST_RECORDED = 2000
"""Characters of a reason that is recorded."""


class GenbenchError(Exception):
    """A failure that the user can understand and mend.

    Args:
        message: where it happened, what was found and what was expected.
        hint: what to do about it.
        exit_code: 2 where the command was wrong, 1 where a run failed.
    """

    def __init__(self, message: str, hint: str | None = None, *, exit_code: int = 2) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.exit_code = exit_code


class NotApplicable(GenbenchError):
    """What was asked for makes no sense here, or lacks something that can't be had.

    A score that raises this is recorded as skipped, with the reason.
    """


def did_you_mean(name: str, known: Iterable[str]) -> str | None:
    """Return `did you mean ...?` for the known names nearest to `name`, or None where none is near."""
    by_lower = {k.lower(): k for k in known}
    near = get_close_matches(name.lower(), by_lower, n=2, cutoff=0.55)
    return f"did you mean {' or '.join(f'`{by_lower[n]}`' for n in near)}?" if near else None


def unknown_name(kind: str, name: str, known: Iterable[str], *, plural: str | None = None) -> GenbenchError:
    """Build the error for a name that nothing answers to, with the nearest names as its hint."""
    listed = sorted(known)
    see = f"see `genbench list {plural}`" if plural else f"known: {', '.join(listed) or 'none'}"
    guess = did_you_mean(name, listed)
    return GenbenchError(f"unknown {kind} `{name}`", f"{guess} {see}" if guess else see)


def first_line(error: BaseException) -> str:
    """Return the first line of what an error of someone else's code says, or its kind where it says nothing."""
    try:
        said = str(error)
    except Exception:  # which is theirs, too
        said = ""
    return (said.strip().splitlines() or [type(error).__name__])[0]


def in_one_line(error: BaseException) -> str:
    """Return the kind of an error of someone else's code and, where it says anything, the first line of that."""
    kind, said = type(error).__name__, first_line(error)
    return kind if said == kind else f"{kind}: {said}"


def explained(error: BaseException) -> str:
    """Return what an error says, on one line, with the hint of one of ours."""
    if isinstance(error, GenbenchError):
        return f"{error.message} ({error.hint})" if error.hint else error.message
    return in_one_line(error)


def on_one_line(text: str) -> str:
    """Return a text with its lines behind each other."""
    return " ".join(text.splitlines())


def recordable(text: str) -> str:
    """Return a text as it may stand in a record: without folders, and no longer than anybody reads."""
    short = without_folders(text)
    return short if len(short) <= LONGEST_RECORDED else f"{short[: LONGEST_RECORDED - 1]}…"


def without_folders(text: str) -> str:
    """Return a text with absolute paths cut to their last part: what is recorded tells nothing of anybody's disk."""
    return _FOLDERS.sub("", text.replace(str(Path.home()), "~"))
