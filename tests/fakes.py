"""Fake plugins, installed in earnest: what pip would have written for them."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from genbench.plugins import LoadedPlugin, Plugins

HEAD = "import genbench\n\n"

GOOD = """
import genbench

class Good:
    "A class."

@genbench.hookimpl
def genbench_similarities():
    yield genbench.SimilaritySpec("good", "works", "{name}:Good")
"""

Install = Callable[..., None]


@dataclass(frozen=True)
class Site:
    """A folder on the import path of this very process, for one test."""

    folder: Path
    monkeypatch: pytest.MonkeyPatch

    def install(self, name: str, source: str, **options: object) -> None:
        self.monkeypatch.delitem(sys.modules, name, raising=False)
        write_plugin(self.folder, name, source, **options)  # type: ignore[arg-type]


def write_plugin(
    site: Path,
    name: str,
    source: str,
    *,
    distribution: str | None = None,
    version: str = "1.0",
    value: str | None = None,
    entry: str | None = None,
    requires: Sequence[str] = (),
    metadata: str | None = None,
    entry_points: str | None = None,
) -> None:
    """Write a module, and a distribution's metadata with an entry point.

    Args:
        distribution: its name, by default the module's with `-dist` behind it.
        value: what the entry point points to, by default the module.
        entry: the entry point's name, by default the module's.
        requires: requirements such as `genbench>=1`.
        metadata: the whole of METADATA instead.
        entry_points: the whole of entry_points.txt instead.
    """
    distribution = distribution or f"{name}-dist"
    (site / f"{name}.py").write_text(source)
    info = site / f"{distribution.replace('-', '_')}-{version}.dist-info"
    info.mkdir()
    lines = ["Metadata-Version: 2.1", f"Name: {distribution}", f"Version: {version}"]
    whole = "".join(f"{line}\n" for line in [*lines, *(f"Requires-Dist: {text}" for text in requires)])
    (info / "METADATA").write_text(whole if metadata is None else metadata)
    named = f"[genbench]\n{entry or name} = {value or name}\n"
    (info / "entry_points.txt").write_text(named if entry_points is None else entry_points)


def only(plugins: Plugins, name: str) -> LoadedPlugin:
    (found,) = [p for p in plugins.loaded if p.name == name]
    return found
