"""How what came of checks is printed: a line each, hints once, and how many there were of each state."""

import textwrap
from collections.abc import Iterable, Sequence

import click

from genbench.findings import Finding, State

WIDTH = 80
STATES: tuple[State, ...] = ("ok", "failed", "skipped")
MOST_NAMED = 4
"""Checks that a hint names; of more, it says how many they are."""

_NAME, _STATE = 21, 8


def line(finding: Finding) -> str:
    """Return a finding on one line of WIDTH columns; on more, where one failed has more to say.

    What failed is told whole; of the rest, what is too long loses its end.
    """
    head = f"{finding.name:<{_NAME}} {finding.state:<{_STATE - 1}} "
    found = " ".join(finding.found.split())
    room = WIDTH - len(head)
    if len(found) <= room:
        return head + found
    if finding.state != "failed":
        return head + textwrap.shorten(found, room, placeholder=" …")
    lines = textwrap.wrap(found, room, break_long_words=False, break_on_hyphens=False)
    return head + f"\n{' ' * len(head)}".join(lines)


def as_plain(findings: Iterable[Finding]) -> list[dict[str, object]]:
    """Return findings as JSON has them."""
    return [
        {"name": finding.name, "state": finding.state, "found": finding.found, "hint": finding.hint}
        for finding in findings
    ]


def print_hints(findings: Sequence[Finding]) -> None:
    """Print what to do about what failed or was skipped, once each, on stderr."""
    for state, label in (("failed", "hint"), ("skipped", "note")):
        hints = dict.fromkeys(f.hint for f in findings if f.state == state and f.hint)
        for hint in hints:
            names = list(dict.fromkeys(f.name for f in findings if f.state == state and f.hint == hint))
            told = ", ".join(names) if len(names) <= MOST_NAMED else f"{len(names)} checks"
            click.echo(f"{label}: {told}: {hint}", err=True)


def count(findings: Iterable[Finding], state: State) -> int:
    """Return how many findings are of a state."""
    return sum(finding.state == state for finding in findings)
