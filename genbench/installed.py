"""The plugins that installed distributions name, and what their metadata says of them. Imports no torch."""

import re
from dataclasses import dataclass
from importlib.metadata import Distribution, EntryPoint, distributions, entry_points

from genbench import __version__
from genbench.errors import in_one_line
from genbench.loading import GROUP, Candidate

_REFERENCE = re.compile(r"[\w.]+\s*(:\s*[\w.]+\s*)?(\[.*\]\s*)?")
_BOUND = re.compile(r"\s*genbench\s*(\[[^\]]*\]\s*)?[(<>=!~]", re.IGNORECASE)
_AT_LEAST = re.compile(r"genbench\s*>=\s*(\d+(?:\.\d+)*)")
_RELEASE = re.compile(r"\d+(\.\d+)*")


@dataclass(frozen=True)
class _Origin:
    """What the metadata of a distribution says; the last two as in `Candidate`."""

    name: str
    version: str
    refusal: str | None = None
    remarks: tuple[str, ...] = ()


def installed() -> list[Candidate]:
    """Return the plugins that entry points name, sorted by distribution and name."""
    entries: list[EntryPoint] = []
    unread: list[Candidate] = []
    try:
        entries += entry_points(group=GROUP)
    except Exception:
        entries, unread = _one_by_one()
    origins: dict[int, _Origin] = {}
    for entry in entries:
        if id(entry.dist) not in origins:  # all entry points of a distribution share it; reading it takes a while
            origins[id(entry.dist)] = _origin(entry.dist)
    found = [_candidate(entry, origins[id(entry.dist)]) for entry in entries]
    return sorted([*found, *unread], key=lambda c: (c.distribution, c.name))


def _one_by_one() -> tuple[list[EntryPoint], list[Candidate]]:
    """Read the entry points where those of some distribution can't be read, which is a plugin only if it says so."""
    entries: dict[str, list[EntryPoint]] = {}
    unread: list[Candidate] = []
    for distribution in distributions():
        origin = _origin(distribution)
        try:
            entries.setdefault(origin.name, list(distribution.entry_points.select(group=GROUP)))
        except Exception as error:
            if f"[{GROUP}]" in (distribution.read_text("entry_points.txt") or ""):
                refusal = f"its entry_points.txt can't be read: {in_one_line(error)}"
                unread.append(Candidate(origin.name, origin.name, origin.version, lambda: None, refusal))
    return [entry for some in entries.values() for entry in some], unread


def _candidate(entry: EntryPoint, origin: _Origin) -> Candidate:
    refusal = origin.refusal
    if not _REFERENCE.fullmatch(entry.value):
        refusal = f"its entry point is {entry.value!r}, expected `module` or `module:object`"
    return Candidate(entry.name, origin.name, origin.version, entry.load, refusal, origin.remarks)


def _origin(distribution: Distribution | None) -> _Origin:
    """Return what there is to be known; nothing in the metadata stops the plugin but what it needs of genbench."""
    if distribution is None:
        return _Origin("unknown", "unknown")
    try:
        metadata, requires = distribution.metadata, distribution.requires or []
        known = {key.lower(): metadata[key] for key in ("Name", "Version") if key in metadata}
    except Exception as error:
        return _Origin("unknown", "unknown", remarks=(f"its metadata can't be read: {in_one_line(error)}",))
    remarks = tuple(f"its metadata has no {key}" for key in ("name", "version") if not known.get(key))
    return _Origin(known.get("name") or "unknown", known.get("version") or "unknown", _refusal(requires), remarks)


def _refusal(requires: list[str]) -> str | None:
    """Say which genbench a distribution needs, if it is not this one: what it would import might not be there.

    Versions are compared as pip does (PEP 440), so 2.0.dev1 is older than 2.0; requirements of extras don't count.
    """
    bounds = [text for text in requires if _BOUND.match(text) and not _plainly_met(text)]
    if not bounds:
        return None
    from packaging.requirements import InvalidRequirement, Requirement

    for text in bounds:
        try:
            needed = Requirement(text)
        except InvalidRequirement:
            continue
        applies = needed.marker is None or needed.marker.evaluate({"extra": ""})
        if applies and not needed.specifier.contains(__version__, prereleases=True):
            return f"it needs genbench {needed.specifier}, and {__version__} is installed, so it is not imported"
    return None


def _plainly_met(text: str) -> bool:
    """Whether it is the usual `genbench>=1.2`, and met: to read any other, a module is imported that slows listing."""
    asked, here = _AT_LEAST.fullmatch(text), _RELEASE.fullmatch(__version__)
    if asked is None or here is None:
        return False
    return [*map(int, asked[1].split("."))] <= [*map(int, here[0].split("."))]
