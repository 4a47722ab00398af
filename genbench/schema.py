"""What a record's schema is called, and its bounds: apart from its models, which take longer to import than to read.

A leaderboard is read by digests, and needs no more than this.
"""

from typing import Literal

SCHEMA = "genbench.record/2"

LONGEST_NAME, LONGEST_TEXT, MOST = 1_000, 20_000, 10_000
"""Characters of a name and of any other text, and entries of a list or mapping, that a record may have."""

Direction = Literal["higher", "lower", "none"]
"""Which way a score is better; `none` for one that describes and is never ranked."""


def flag_text(name: str, value: float | None, rule: str, meaning: str) -> str:
    """Return in words what a flagged check of health says."""
    found = "unknown" if value is None else f"{value:.3g}"
    return f"{name} is {found}, not {rule}: {meaning}"
