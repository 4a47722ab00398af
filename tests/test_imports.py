"""Who may import whom, read from the sources: the rules of the rooms."""

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TORCH = {"torch", "torchvision", "torch_fidelity"}
PURE = (
    *(
        "errors",
        "specs",
        "hookspecs",
        "isolation",
        "loading",
        "installed",
        "plugins",
        "targets",
        "config",
        "resolution",
        "records",
        "store",
        "randomness",
        "tracking",
    ),
    *("schema", "rows", "digest", "reading", "exchange", "upgrades", "statistics", "cells", "selection"),
    *("compare", "comparability", "tables", "matrix", "report.rate_distortion", "report.sensitivity", "assessing"),
    *("suite", "authored", "recipes", "planning", "estimates", "evaluate.merging"),
    *("report.content", "report.gathering", "report.describing", "report.boards", "report.page"),
    *("report.drawing", "report.curves", "report.latents"),
    *("findings", "pairing", "scaffold", "testing.checks", "testing.interface", "testing.plugin", "train.curve"),
    *("chosen", "report.content", "report.curves", "report.latents"),
    *("doctor.findings", "doctor.packages", "doctor.installed"),
    *("executors.interface", "executors.messages", "executors.agenda", "executors.processes", "executors.local"),
    *("executors.dispatching", "executors.gathering", "executors.ray_cluster", "executors.ray_driver"),
    "executors.ray_task",
)
LIMIT_LINES = 400


@dataclass(frozen=True)
class Import:
    """One imported module or name, as a dotted path; `late` where it happens inside a function."""

    name: str
    late: bool


class Sources:
    """The modules under some source roots, by dotted name."""

    def __init__(self, *packages: Path) -> None:
        self.files = {self._name(package, f): f for package in packages for f in sorted(package.rglob("*.py"))}
        self.imports = {name: list(self._read(name, file)) for name, file in self.files.items()}

    @staticmethod
    def _name(package: Path, file: Path) -> str:
        parts = file.relative_to(package.parent).with_suffix("").parts
        return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)

    def _read(self, name: str, file: Path) -> Iterator[Import]:
        package = name if file.name == "__init__.py" else name.rpartition(".")[0]
        yield from self._walk([ast.parse(file.read_text(), str(file))], package, late=False)

    def _walk(self, nodes: Iterable[ast.AST], package: str, *, late: bool) -> Iterator[Import]:
        for node in nodes:
            if isinstance(node, ast.Import):
                yield from (Import(alias.name, late) for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                base = ".".join(package.split(".")[: len(package.split(".")) - node.level + 1]) if node.level else ""
                module = ".".join(filter(None, [base, node.module]))
                yield from (Import(f"{module}.{alias.name}", late) for alias in node.names)
            elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
                yield from self._walk(node.orelse, package, late=late)
            else:
                inner = late or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
                yield from self._walk(ast.iter_child_nodes(node), package, late=inner)

    def modules_run_by(self, name: str) -> set[str]:
        """Return our modules that importing the dotted path runs: each package on the way, and the module itself."""
        parts = name.split(".")
        return {".".join(parts[: i + 1]) for i in range(len(parts))} & set(self.files)

    def closure(self, start: str) -> dict[str, list[str]]:
        """Return all that importing `start` imports, ours and others', each with the way that leads to it."""
        ways: dict[str, list[str]] = {}
        todo = [(module, [module]) for module in self.modules_run_by(start)]
        while todo:
            module, way = todo.pop()
            if module in ways:
                continue
            ways[module] = way
            for imported in self.imports[module]:
                if imported.late:
                    continue
                ours = self.modules_run_by(imported.name)
                todo += [(m, [*way, m]) for m in ours]
                if not ours:
                    ways.setdefault(imported.name, [*way, imported.name])
        return ways

    def way_to(self, start: str, forbidden: set[str]) -> str | None:
        """Say how importing `start` leads to one of the packages, or return None."""
        ways = self.closure(start)
        return next((" -> ".join(way) for name, way in ways.items() if name.split(".")[0] in forbidden), None)


CORE = Sources(ROOT / "genbench")
PLUGIN_FOLDERS = sorted(f.parent for f in (ROOT / "plugins").glob("*/__init__.py"))
PLUGINS = Sources(*PLUGIN_FOLDERS)
EVERYTHING = Sources(ROOT / "genbench", *PLUGIN_FOLDERS)


def in_room(*rooms: str) -> list[str]:
    return sorted(n for n in CORE.files if any(n == f"genbench.{r}" or n.startswith(f"genbench.{r}.") for r in rooms))


def ours(module: str) -> set[str]:
    """Return the modules of genbench that one names in its imports, wherever they stand."""
    found = set()
    for imported in CORE.imports[module]:
        if imported.name.split(".")[0] == "genbench":
            found.add(max(CORE.modules_run_by(imported.name), key=len))
    return found


def test_the_rooms_are_found() -> None:
    assert {"genbench", "genbench.errors", "genbench.specs", "genbench.cli", "genbench.plugins"} <= set(CORE.files)
    assert len(PLUGIN_FOLDERS) >= 6


def test_errors_import_nothing_of_ours() -> None:
    assert ours("genbench.errors") == set()


def test_specs_import_errors_at_most() -> None:
    assert ours("genbench.specs") <= {"genbench.errors"}


@pytest.mark.parametrize(
    "module",
    ["genbench", *in_room(*PURE)],
)
def test_pure_rooms_never_touch_torch(module: str) -> None:
    assert EVERYTHING.way_to(module, TORCH) is None
    assert [i.name for i in CORE.imports[module] if i.name.split(".")[0] in TORCH] == []


@pytest.mark.parametrize("module", in_room("cli", "suite", "__main__", "executors.worker"))
def test_the_command_line_imports_torch_only_inside_functions(module: str) -> None:
    assert EVERYTHING.way_to(module, TORCH) is None


@pytest.mark.parametrize("folder", PLUGIN_FOLDERS, ids=lambda folder: folder.name)
def test_plugin_packages_do_not_import_each_other(folder: Path) -> None:
    others = {other.name for other in PLUGIN_FOLDERS} - {folder.name}
    wrong = [
        f"{module} imports {imported.name}"
        for module in PLUGINS.files
        if module.split(".")[0] == folder.name
        for imported in PLUGINS.imports[module]
        if imported.name.split(".")[0] in others
    ]
    assert wrong == []


@pytest.mark.parametrize("folder", PLUGIN_FOLDERS, ids=lambda folder: folder.name)
def test_declaring_needs_no_torch(folder: Path) -> None:
    assert EVERYTHING.way_to(folder.name, TORCH) is None


def test_genbench_never_imports_a_plugin_package() -> None:
    names = {folder.name for folder in PLUGIN_FOLDERS}
    wrong = [f"{m} imports {i.name}" for m, all_ in CORE.imports.items() for i in all_ if i.name.split(".")[0] in names]
    assert wrong == []


def test_no_file_is_too_long() -> None:
    lengths = {str(f.relative_to(ROOT)): len(f.read_text().splitlines()) for f in EVERYTHING.files.values()}
    assert {name: length for name, length in lengths.items() if length > LIMIT_LINES} == {}


def test_no_module_is_called_utils() -> None:
    assert [str(f) for f in EVERYTHING.files.values() if f.stem in {"utils", "util", "helpers"}] == []


def test_the_reader_sees_what_it_should(tmp_path: Path) -> None:
    package = tmp_path / "house"
    (package / "room").mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "room" / "__init__.py").write_text("from . import inner\n")
    (package / "room" / "inner.py").write_text("try:\n    from torch import nn\nexcept ImportError:\n    pass\n")
    (package / "far.py").write_text("from house.room import anything\n")
    (package / "late.py").write_text("def f():\n    import torch\n    from .far import x\n")
    (package / "typed.py").write_text(
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import torch\nelse:\n    import json\n"
    )
    house = Sources(package)
    assert house.way_to("house.far", TORCH) == "house.far -> house.room -> house.room.inner -> torch.nn"
    assert house.way_to("house.late", TORCH) is None
    assert house.imports["house.late"] == [Import("torch", late=True), Import("house.far.x", late=True)]
    assert house.way_to("house.typed", TORCH) is None
    assert "json" in house.closure("house.typed")
