"""What came of checks, of an installation or of a plugin. Imports no torch."""

from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "failed", "skipped"]


@dataclass(frozen=True)
class Finding:
    """What came of one check.

    Attributes:
        state: `skipped` where what it needs is not here, which is no failure.
        found: in a few words.
        hint: what to do, or None.
    """

    name: str
    state: State
    found: str
    hint: str | None = None

    @classmethod
    def of(cls, name: str, sound: bool, found: str, hint: str | None = None) -> "Finding":
        """Return a finding that is `ok` or `failed`; the hint is for the latter."""
        return cls(name, "ok" if sound else "failed", found, None if sound else hint)
