"""Declared targets that are not there, told from the sources alone; in doubt, nothing is said."""

import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest
from fakes import GOOD, HEAD, Install

from genbench.plugins import Plugins
from genbench.targets import unreachable


def declaration(*arguments: str, kind: str = "similarities", spec: str = "SimilaritySpec") -> str:
    return HEAD + f"@genbench.hookimpl\ndef genbench_{kind}():\n    yield genbench.{spec}({', '.join(arguments)})\n"


def said(folder: Path) -> list[str]:
    return [
        lost.reason for lost in unreachable(Plugins.load(folder)) if lost.declaration.plugin.distribution != "genbench"
    ]


@pytest.fixture
def pointing(install: Install, empty: Path, site: Path) -> "Pointing":
    return Pointing(install, empty, site)


class Pointing:
    """A plugin whose declaration points to `room.inner:Wanted`, in a package that has not been imported."""

    def __init__(self, install: Install, empty: Path, site: Path) -> None:
        self.empty, self.package = empty, site / "room"
        install("pointer", declaration("'x'", "'s'", "'room.inner:Wanted'"))
        self.package.mkdir()
        (self.package / "__init__.py").write_text("raise RuntimeError('imported')\n")

    def said(self, source: str | None, name: str = "inner.py") -> list[str]:
        if source is not None:
            (self.package / name).write_text(dedent(source))
        found = said(self.empty)
        assert "room" not in sys.modules
        return found


BINDING = {
    "class": "class Wanted: ...",
    "function": "def Wanted(): ...",
    "assignment": "Other = Wanted = object",
    "tuple": "first, (Wanted, *rest) = 1, (2, 3)",
    "annotated": "Wanted: type = object",
    "import": "import json as Wanted",
    "from": "from .elsewhere import Hidden as Wanted",
    "if": "if True:\n    pass\nelse:\n    class Wanted: ...",
    "try": "try:\n    import nothing\nexcept ImportError:\n    Wanted = None",
    "with": "with open('x') as Wanted:\n    pass",
    "for": "for Wanted in ():\n    pass",
    "walrus": "print(Wanted := 3)",
    "global": "def late():\n    global Wanted\n    Wanted = 1\nlate()",
}
DOUBTFUL = {
    "star": "from .elsewhere import *",
    "getattr": "def __getattr__(name):\n    return object",
    "lazy": "__getattr__, __dir__ = attach(__name__)",
    "globals": "globals()['Wanted'] = object",
    "exec": "exec('class Wanted: ...')",
    "itself": "import sys\nsetattr(sys.modules[__name__], 'Want' + 'ed', object)",
    "match": "match 1:\n    case Wanted:\n        pass",
}
LACKING = {
    "nothing": "",
    "method": "class Other:\n    Wanted = 1\n    def method(self):\n        Wanted = 2",
    "local": "def function():\n    Wanted = 1\n    class Wanted: ...",
    "annotation": "Wanted: type",
    "typing": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from x import Wanted",
    "lambda": "f = lambda: (Wanted := 1)",
    "used": "print(Wanted)",
}


@pytest.mark.parametrize("source", [*BINDING.values(), *DOUBTFUL.values()], ids=[*BINDING, *DOUBTFUL])
def test_what_a_module_may_bind_passes(pointing: Pointing, source: str) -> None:
    assert pointing.said(source) == []


@pytest.mark.parametrize("source", LACKING.values(), ids=LACKING)
def test_what_a_module_does_not_bind_is_told(pointing: Pointing, source: str) -> None:
    assert pointing.said(source) == ["target 'room.inner:Wanted': module `room.inner` has no `Wanted`"]


def test_the_nearest_name_is_told(pointing: Pointing) -> None:
    assert pointing.said("class Watned: ...")[0].endswith("; did you mean `Watned`?")


def test_a_module_that_is_not_there(pointing: Pointing) -> None:
    assert pointing.said(None) == ["target 'room.inner:Wanted': there is no module `room.inner`"]


@pytest.mark.parametrize("line", ["__path__.append('/elsewhere')", "import sys\nsys.modules['room.inner'] = object()"])
def test_a_package_that_moves_its_modules_is_not_judged(pointing: Pointing, line: str) -> None:
    assert pointing.said(line, "__init__.py") == []


def test_a_module_that_does_not_compile(pointing: Pointing) -> None:
    (reason,) = pointing.said("x = 1\ndef f(:\n")
    assert "importing `room.inner` would raise SyntaxError: invalid syntax (" in reason
    assert "inner.py, line 2)" in reason


def test_a_compiled_module_is_not_judged(pointing: Pointing) -> None:
    from importlib.machinery import EXTENSION_SUFFIXES

    assert pointing.said("", f"inner{EXTENSION_SUFFIXES[0]}") == []


def test_a_finder_that_fails_is_no_reason(pointing: Pointing, monkeypatch: pytest.MonkeyPatch) -> None:
    class Faulty:
        @staticmethod
        def find_spec(name: str, *_: object) -> None:
            if name.startswith("room"):
                raise RuntimeError

    monkeypatch.setattr(sys, "meta_path", [Faulty, *sys.meta_path])
    assert pointing.said(None) == []


def test_a_module_below_what_is_no_package(install: Install, empty: Path) -> None:
    install("flat", GOOD.format(name="flat.inner"))
    assert said(empty) == ["target 'flat.inner:Good': there is no module `flat.inner`"]


def test_a_namespace_package_is_looked_into(install: Install, site: Path, empty: Path) -> None:
    (site / "spread" / "deep").mkdir(parents=True)
    (site / "spread" / "deep" / "inner.py").write_text("class Good: ...\n")
    install("pointer", GOOD.format(name="spread.deep.inner"))
    assert said(empty) == []


def test_settings_and_known_are_looked_for_too(install: Install, site: Path, empty: Path) -> None:
    (site / "there.py").write_text("class Thing: ...\n")
    install("one", declaration("'x'", "'s'", "'there:Thing'", "'there:Options'"))
    more = ("'y'", "'s'", "'there:Thing'", "variants=True", "known='there:names'")
    install("two", declaration(*more, kind="extractors", spec="ExtractorSpec"))
    assert said(empty) == [
        "settings 'there:Options': module `there` has no `Options`",
        "known 'there:names': module `there` has no `names`",
    ]


def test_one_that_does_not_work_leaves_the_others_of_its_plugin(install: Install, empty: Path) -> None:
    source = GOOD.format(name="half")
    install("half", source + "    yield genbench.SimilaritySpec('lost', 's', 'half:Missing')\n")
    plugins = Plugins.load(empty)
    (lost,) = (lost for lost in unreachable(plugins) if lost.declaration.plugin.name == "half")
    assert (
        str(lost) == "similarity `lost` of half (half-dist 1.0): target 'half:Missing': module `half` has no `Missing`"
    )
    assert lost.declaration.plugin.problem is None
    assert plugins.resolve(plugins.similarity("good").target).__doc__ == "A class."


def test_every_first_party_target_is_found_without_importing_it() -> None:
    script = (
        "import sys; from genbench.plugins import Plugins; from genbench.targets import unreachable\n"
        "print([str(u) for u in unreachable(Plugins.load())])\n"
        "assert not {'torch', 'numpy', 'genbench.interfaces'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("[]\n", "")
