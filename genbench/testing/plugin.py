"""The pytest plugin: it counts the kit's checks, and does nothing where there are none. Imports no torch.

Every pytest loads it that runs where genbench is installed, so that it imports next to nothing.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from _pytest.terminal import TerminalReporter

PROPERTY = "genbench"
"""Name of a report's property that holds the part which was checked; it also goes from one process to another."""


@dataclass(frozen=True)
class PartCheck:
    """One check of one part, as a test calls it."""

    kind: str
    name: str
    check: str
    settings: tuple[str, ...]
    device: str

    @property
    def part(self) -> str:
        """Return what is checked, in words."""
        return " ".join([self.kind, self.name, *self.settings])

    @property
    def id(self) -> str:
        """Return its name in a test's name."""
        return self.check.replace(" ", "-")

    def __call__(self) -> None:
        """Carry the check out: the test that calls it fails, or is skipped, as it says."""
        from genbench.errors import GenbenchError, NotApplicable

        told: GenbenchError | None = None
        try:
            self._carry_out()
        except GenbenchError as error:
            told = error
        if isinstance(told, NotApplicable):
            pytest.skip(told.message)
        if told is not None:
            hint = f"\nhint: {told.hint}" if told.hint else ""
            pytest.fail(f"{self.part}: {self.check}: {told.message}{hint}", pytrace=False)

    def _carry_out(self) -> None:
        from genbench.plugins import Plugins
        from genbench.testing.interface import find_check, make_subject, perform

        subject = make_subject(Plugins.load(), self.kind, self.name, self.settings, self.device)
        perform(find_check(self.kind, self.check), subject)


def pytest_itemcollected(item: pytest.Item) -> None:
    """Note which part a test checks."""
    callspec = getattr(item, "callspec", None)
    for value in callspec.params.values() if callspec else ():
        if isinstance(value, PartCheck):
            item.user_properties.append((PROPERTY, value.part))


def pytest_terminal_summary(terminalreporter: "TerminalReporter") -> None:
    """Say of each part how many checks ran, passed and were skipped, and why."""
    counts: dict[str, Counter[str]] = {}
    reasons: dict[str, Counter[str]] = {}
    for outcome in ("passed", "failed", "error", "skipped"):
        for report in terminalreporter.stats.get(outcome, ()):
            for part in _parts(report):
                counts.setdefault(part, Counter())[outcome] += 1
                if outcome == "skipped":
                    reasons.setdefault(part, Counter())[_reason(report)] += 1
    if not counts:
        return
    terminalreporter.section("genbench checks")
    for part, found in counts.items():
        ran = found.total() - found["skipped"]
        terminalreporter.write_line(f"{part}: {ran} ran, {found['passed']} passed, {found['skipped']} skipped")
        for reason, count in reasons.get(part, {}).items():
            terminalreporter.write_line(f"    {count} skipped: {reason}")


def _parts(report: object) -> Iterator[str]:
    # A test may fail, and then its teardown too: only a report of its call, or of what came instead, counts.
    properties = getattr(report, "user_properties", ())
    if getattr(report, "when", None) != "teardown":
        yield from (str(value) for name, value in properties if name == PROPERTY)


def _reason(report: pytest.TestReport) -> str:
    told = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return told.removeprefix("Skipped: ")
