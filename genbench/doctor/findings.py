"""What a check says, and how the checks are carried out. Imports no torch."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from genbench.errors import GenbenchError, NotApplicable, in_one_line
from genbench.findings import Finding
from genbench.plugins import Plugins


@dataclass(frozen=True)
class Ground:
    """What checks are carried out on.

    Attributes:
        plugins: that are installed.
        cache: genbench's cache folder.
        full: whether checks that take minutes are wanted, too.
    """

    plugins: Plugins
    cache: Path
    full: bool = False


Check = Callable[[Ground], Iterable[Finding]]

CHECKS: tuple[tuple[str, str], ...] = (
    ("packages", "genbench.doctor.packages:packages"),
    ("plugins", "genbench.doctor.installed:plugins"),
    ("cache", "genbench.doctor.installed:cache"),
    ("disk", "genbench.doctor.installed:disk"),
    ("data", "genbench.doctor.installed:data"),
    ("device", "genbench.doctor.hardware:device"),
    ("convolutions", "genbench.doctor.hardware:convolutions"),
    ("precision", "genbench.doctor.hardware:precision"),
    ("evaluation mode", "genbench.doctor.hardware:evaluation_mode"),
    ("fréchet distance", "genbench.doctor.distances:frechet"),
    ("kid", "genbench.doctor.distances:kernel"),
    ("neighbours", "genbench.doctor.distances:neighbours"),
    ("gradient routing", "genbench.doctor.routing:routing"),
    ("tiny run", "genbench.doctor.running:tiny_run"),
    ("resuming", "genbench.doctor.running:resuming"),
    ("weights", "genbench.doctor.weights:weights"),
    ("reference fid", "genbench.doctor.reference:reference_fid"),
)
"""Name and place of each check, in the order in which they are carried out."""


def carry_out(ground: Ground, checks: Sequence[tuple[str, str]] = CHECKS) -> Iterator[Finding]:
    """Carry out checks one by one; one that raises has failed, or was skipped, and stops no other."""
    for name, place in checks:
        try:
            module, _, function = place.partition(":")
            check: Check = getattr(import_module(module), function)
            yield from check(ground)
        except NotApplicable as error:
            yield Finding(name, "skipped", error.message, error.hint)
        except GenbenchError as error:
            yield Finding(name, "failed", error.message, error.hint)
        except Exception as error:
            hint = "reinstall genbench; where that does not help, report it as a bug"
            yield Finding(name, "failed", in_one_line(error), hint)
