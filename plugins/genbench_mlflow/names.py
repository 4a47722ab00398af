"""Names and texts as MLflow takes them."""

import re
from collections.abc import Iterable

LONGEST_NAME, LONGEST_PARAMETER, LONGEST_TAG = 250, 500, 4000
"""Characters; servers before MLflow 2.8 take no more of a parameter, and a request of 100 tags stays below 1 MB."""

_REFUSED = re.compile(r"[^\w. -]")


def key(name: str) -> str:
    """Return a name that every store of MLflow takes on every system: letters, digits, `_`, `.`, `-` and spaces.

    The first slash stays, and groups charts; others would clash with names of files in MLflow's file store.
    """
    return "/".join(_part(part) for part in name.split("/", 1))[:LONGEST_NAME]


def keys(names: Iterable[str]) -> dict[str, str]:
    """Return a key for each name, no two alike."""
    found: dict[str, str] = {}
    for name in names:
        wanted = candidate = key(name)
        number = 1
        while candidate in found.values():
            number += 1
            candidate = f"{wanted[: LONGEST_NAME - 8]} {number}"
        found[name] = candidate
    return found


def cut(text: str, longest: int) -> str:
    """Return a text with what is beyond `longest` characters left out, and an ellipsis there."""
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def _part(text: str) -> str:
    return _REFUSED.sub(".", text).strip(". ") or "-"
