"""What a plugin does that ought not to matter to others: printing, leaving, never ending, needing another genbench."""

import json
import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from fakes import GOOD, HEAD, Install, only, write_plugin

import genbench
from genbench import GenbenchError, installed
from genbench.errors import in_one_line
from genbench.isolation import Guard
from genbench.loading import MOST_DECLARED
from genbench.plugins import Plugins


def declaring(hook: Callable[[], object], name: str = "genbench_models") -> Plugins:
    module = ModuleType("p")
    setattr(module, name, genbench.hookimpl(hook))
    return Plugins.of(module)


def model(name: str) -> genbench.ModelSpec:
    return genbench.ModelSpec(name, "s", "a:B")


# What it raises.


@pytest.mark.parametrize("kind", ["BaseException", "GeneratorExit", "CancelledError", "Skipped"])
def test_whatever_a_plugin_raises_is_told(install: Install, empty: Path, kind: str) -> None:
    source = "from asyncio import CancelledError\nfrom _pytest.outcomes import Skipped\n"
    install("raising", f"{source}raise {kind}('so')\n")
    install("working", GOOD.format(name="working"))
    plugins = Plugins.load(empty)
    assert f"importing it raised {kind}: so (" in (only(plugins, "raising").problem or "")
    assert plugins.similarity("good")


def test_an_interrupt_goes_through_every_door() -> None:
    def interrupt(*_: object) -> Any:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        declaring(interrupt)
    module = ModuleType("watching")
    vars(module)["genbench_run_finished"] = genbench.hookimpl(lambda record: interrupt())
    with pytest.raises(KeyboardInterrupt):
        Plugins.of(module).run_finished(None, Path())  # type: ignore[arg-type]


def test_an_error_that_can_not_be_printed_is_told_by_its_kind(install: Install, empty: Path) -> None:
    install("mute", "class Mute(Exception):\n    def __str__(self):\n        return 1 / 0\nraise Mute\n")
    assert "importing it raised Mute (" in (only(Plugins.load(empty), "mute").problem or "")
    assert in_one_line(ValueError("first\nsecond")) == "ValueError: first"


def test_a_warning_that_is_made_an_error_breaks_its_plugin_alone(install: Install, empty: Path) -> None:
    install("warning", "import warnings\nwarnings.warn('old ways', FutureWarning)\n")
    install("working", GOOD.format(name="working"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plugins = Plugins.load(empty)
    assert "raised FutureWarning: old ways" in (only(plugins, "warning").problem or "")
    assert plugins.similarity("good")


# What it prints.


def test_printing_is_remarked_on_and_breaks_nothing(
    install: Install, empty: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = "print('\\nimporting ' + 'x' * 80)\nprint('more')\n" + GOOD.format(name="chatty")
    install("chatty", source.replace("    yield", "    print('declaring')\n    yield"))
    plugin = only(Plugins.load(empty), "chatty")
    assert plugin.problem is None
    first, second = plugin.remarks
    assert first == f"importing it prints `importing {'x' * 49}`"
    assert second == "genbench_similarities prints `declaring`"
    assert capsys.readouterr().out == ""


LOUD = """
import os
import subprocess
import sys

sys.__stdout__.write("around\\n")
os.write(1, b"descriptor\\n")
subprocess.run([sys.executable, "-c", "print('child')"], check=True)
sys.stdout.buffer.write(b"bytes\\n")
print("plain")
kept = sys.stdout
"""


def test_no_way_of_printing_reaches_stdout(site: Path, empty: Path) -> None:
    write_plugin(
        site, "loud", LOUD + GOOD.format(name="loud").replace("    yield", "    kept.write('kept')\n    yield")
    )
    script = (
        "import sys; sys.stdout.write('before,'); from genbench.plugins import Plugins; Plugins.load(); print('after')"
    )
    environment = {**os.environ, "PYTHONPATH": str(site)}
    done = subprocess.run([sys.executable, "-c", script], cwd=empty, env=environment, capture_output=True, timeout=60)
    assert done.stdout == b"before,after\n"
    for word in (b"around", b"descriptor", b"child", b"bytes", b"plain", b"kept"):
        assert word in done.stderr


@pytest.mark.parametrize("closed", ["1>&-", "2>&-", "1>&- 2>&-"])
def test_closed_streams_stop_no_plugin(site: Path, empty: Path, closed: str) -> None:
    write_plugin(site, "chatty", "print('hello')\n" + GOOD.format(name="chatty"))
    (empty / "script.py").write_text(
        "from genbench.plugins import Plugins\nopen('found', 'w').write(Plugins.load().similarity('good').target)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(site)}
    done = subprocess.run(
        ["sh", "-c", f"{sys.executable} script.py {closed}"], cwd=empty, env=environment, stdout=-1, timeout=60
    )
    assert (empty / "found").read_text() == "chatty:Good"
    assert done.stdout == b""


def test_streams_are_as_before_whatever_happens() -> None:
    before = sys.stdout
    with Guard() as guard:
        sys.stdout = None  # type: ignore[assignment]
        raise ValueError
    assert sys.stdout is before
    assert isinstance(guard.error, ValueError)
    assert guard.printed == ""


def test_the_working_folder_is_as_before(empty: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(empty)
    with Guard() as guard:
        os.chdir("/")
    assert (Path.cwd(), guard.error) == (empty, None)
    gone = empty / "gone"
    gone.mkdir()
    os.chdir(gone)
    gone.rmdir()
    with Guard() as guard:
        pass
    assert guard.error is None


# What it declares.


def test_a_hook_that_never_ends_is_stopped() -> None:
    def endless() -> Any:
        count = 0
        while True:
            yield model(f"m{count}")
            count += 1

    plugins = declaring(endless)
    assert plugins.loaded[0].problem == f"genbench_models gave {MOST_DECLARED:,} and went on, so it was stopped"
    assert len(plugins.declarations("models")) == MOST_DECLARED


def test_many_problems_are_counted_and_equal_ones_told_once() -> None:
    problem = declaring(lambda: [*range(9), *range(9)]).loaded[0].problem or ""
    assert problem.count("expected ModelSpec") == 5
    assert problem.endswith("; and 4 more")


def test_a_spec_of_its_own_class_becomes_one_of_ours() -> None:
    class Mine(genbench.ModelSpec):
        @property
        def title(self) -> str:
            raise RuntimeError

        def __eq__(self, _: object) -> bool:
            raise RuntimeError

        __hash__ = None  # type: ignore[assignment]

    plugins = declaring(lambda: [Mine("mine", "s", "a:B", discriminator=True)])
    assert type(plugins.model("mine")) is genbench.ModelSpec
    assert plugins.model("mine").discriminator


def test_a_spec_whose_field_raises_is_a_problem_of_its_hook() -> None:
    class Fickle(genbench.ModelSpec):
        def __getattribute__(self, name: str) -> Any:
            if name == "summary" and sys._getframe(1).f_code.co_name != "__post_init__":
                raise RuntimeError("not today")
            return super().__getattribute__(name)

    class Careless(Fickle):
        def __post_init__(self) -> None: ...

    plugins = declaring(lambda: [model("first"), Careless("careless", "s", "a:B")])
    assert [d.spec.name for d in plugins.declarations("models")] == ["first"]
    assert "genbench_models raised RuntimeError: not today" in (plugins.loaded[0].problem or "")


@pytest.mark.parametrize(
    ("build", "expected"),
    [
        (lambda: genbench.ModelSpec(5, "s", "a:B"), "ModelSpec 5: name is 5, expected text"),  # type: ignore[arg-type]
        (lambda: genbench.ModelSpec("m", None, "a:B"), "summary is None, expected text"),  # type: ignore[arg-type]
        (lambda: genbench.ModelSpec("m", "one\ntwo", "a:B"), "summary 'one\\ntwo' is not one line"),
        (lambda: genbench.ModelSpec("m", "s", Path), "expected text"),  # type: ignore[arg-type]
        (lambda: genbench.ModelSpec("m", "s", "a:B", similarity_settings=("layer",)), "has 'layer', expected pairs"),  # type: ignore[arg-type]
        (lambda: genbench.SimilaritySpec("m", "s", "a:B", needs=None), "expected `Needs(...)`"),  # type: ignore[arg-type]
        (lambda: genbench.Needs(min_size="32"), "Needs: min_size is '32', expected a whole number"),  # type: ignore[arg-type]
        (lambda: genbench.DatasetSpec("d", "s", "a:B", images=1e6), "images is 1000000.0, expected a whole number"),  # type: ignore[arg-type]
        (lambda: genbench.DatasetSpec("d", "s", "a:B", size=True), "size is True, expected a whole number"),
        (lambda: genbench.DatasetSpec("d", "s", "a:B", flip=1), "flip is 1, expected True or False"),  # type: ignore[arg-type]
    ],
)
def test_a_field_of_another_type_is_refused_where_it_is_declared(build: Callable[[], object], expected: str) -> None:
    with pytest.raises(GenbenchError) as caught:
        build()
    assert expected in caught.value.message


def test_a_name_that_one_plugin_declares_twice() -> None:
    plugins = declaring(lambda: [model("twin"), model("twin"), model("own")])
    with pytest.raises(GenbenchError, match=r"model `twin` is declared by p \(p 0\) more than once"):
        plugins.model("twin")
    assert plugins.model("own")


# What its distribution says.


@pytest.mark.parametrize(
    ("requires", "expected"),
    [
        ("genbench>=99", ">=99"),
        ("GenBench[piq]>=99", ">=99"),
        ("genbench (>=99)", ">=99"),
        ("genbench<0.0.1", "<0.0.1"),
        ("genbench>=99; python_version >= '3'", ">=99"),
        ("genbench>=99; python_version < '3'", None),
        ("genbench>=99; extra == 'newest'", None),
        ("genbench-extras>=99", None),
        ("genbench>=0.0.1", None),
        ("genbench>=0.1.0.0.1", ">=0.1.0.0.1"),
        ("genbench", None),
        ("genbench >= what", None),
    ],
)
def test_what_a_plugin_needs_of_genbench(
    install: Install, site: Path, empty: Path, requires: str, expected: str | None
) -> None:
    install(
        "picky", f"import os\nos.mkdir({str(site / 'imported')!r})\n" + GOOD.format(name="picky"), requires=[requires]
    )
    install("working", GOOD.format(name="working").replace('"good"', '"other"'))
    plugins = Plugins.load(empty)
    plugin = only(plugins, "picky")
    assert (site / "imported").exists() == (expected is None)
    if expected is None:
        assert plugin.problem is None
        assert plugins.similarity("good")
    else:
        found = f"it needs genbench {expected}, and {genbench.__version__} is installed, so it is not imported"
        assert (plugin.distribution, plugin.version, plugin.problem) == ("picky-dist", "1.0", found)
    assert plugins.similarity("other")


@pytest.mark.parametrize(
    ("version", "sound"), [("2.0.dev1", False), ("2.0rc1", False), ("2.0", True), ("2.0+cu1", True), ("2.1.dev0", True)]
)
def test_development_versions_are_ordered_as_pip_orders_them(
    monkeypatch: pytest.MonkeyPatch, version: str, sound: bool
) -> None:
    monkeypatch.setattr(installed, "__version__", version)
    assert (installed._refusal(["genbench>=2.0"]) is None) == sound


def test_two_distributions_with_one_entry_point_name(install: Install, empty: Path) -> None:
    install("one", GOOD.format(name="one"), entry="same")
    install("two", GOOD.format(name="two").replace('"good"', '"other"'), entry="same")
    plugins = Plugins.load(empty)
    assert [p.distribution for p in plugins.loaded if p.name == "same"] == ["one-dist", "two-dist"]
    assert plugins.origin("similarities", "good") == ("one-dist", "1.0")
    assert plugins.origin("similarities", "other") == ("two-dist", "1.0")
    assert plugins.clashes() == []


@pytest.mark.parametrize("value", ["my plugin", "over-there", "picky:", ""])
def test_an_entry_point_that_is_no_reference(install: Install, empty: Path, value: str) -> None:
    install("malformed", GOOD.format(name="malformed"), entry_points=f"[genbench]\nmalformed = {value}\n")
    assert only(Plugins.load(empty), "malformed").problem == (
        f"its entry point is {value!r}, expected `module` or `module:object`"
    )


def test_metadata_without_a_name_or_version_is_remarked_on(install: Install, empty: Path) -> None:
    install("bare", GOOD.format(name="bare"), metadata="Metadata-Version: 2.1\n")
    plugin = only(Plugins.load(empty), "bare")
    assert (plugin.distribution, plugin.version, plugin.problem) == ("unknown", "unknown", None)
    assert plugin.remarks == ("its metadata has no name", "its metadata has no version")


def test_metadata_that_can_not_be_read(install: Install, site: Path, empty: Path) -> None:
    install("garbled", GOOD.format(name="garbled"))
    (site / "garbled_dist-1.0.dist-info" / "METADATA").write_bytes(b"Name: \xff\xfe\n")
    plugins = Plugins.load(empty)
    assert only(plugins, "garbled").remarks[0].startswith("its metadata can't be read: UnicodeDecodeError")
    assert plugins.similarity("good")


def test_entry_points_that_can_not_be_read_take_no_others_with_them(install: Install, empty: Path) -> None:
    install("alien", "", entry_points="[console_scripts]\nnonsense\n")
    install("nonsense", "", entry_points="[genbench]\nnonsense\n")
    install("working", GOOD.format(name="working"))
    plugins = Plugins.load(empty)
    assert (only(plugins, "nonsense-dist").problem or "").startswith("its entry_points.txt can't be read: ")
    assert plugins.similarity("good")
    assert "alien-dist" not in {p.distribution for p in plugins.loaded}
    assert plugins.origin("models", "vae")[0] == "genbench"


# The file in the working folder.


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("x = 1\nundefined\n", "genbenchfile.py:2)"),
        (
            HEAD + "@genbench.hookimpl\ndef genbench_models():\n    yield genbench.ModelSpec('m')\n",
            "genbenchfile.py:5)",
        ),
        ("x = 1\n  y = 2\n", "genbenchfile.py, line 2"),
    ],
)
def test_errors_of_a_genbenchfile_are_told_with_their_line(
    empty: Path, monkeypatch: pytest.MonkeyPatch, source: str, expected: str
) -> None:
    monkeypatch.delitem(sys.modules, "genbenchfile", raising=False)
    (empty / "genbenchfile.py").write_text(source)
    assert expected in (only(Plugins.load(empty), "genbenchfile").problem or "")


def test_a_genbenchfile_that_can_not_be_read(empty: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(self))

    (empty / "genbenchfile.py").write_bytes(b"\xff\xfe\x00")  # nor would root be refused, but this it can't read
    monkeypatch.setattr(Path, "read_bytes", refuse)
    plugin = only(Plugins.load(empty), "genbenchfile")
    assert plugin.version == "unknown"
    assert plugin.problem is not None


# How it is listed.


def test_all_of_it_in_one_listing(site: Path, empty: Path) -> None:
    write_plugin(site, "newer", "print('imported')\n", requires=["genbench>=99"])
    write_plugin(site, "exits", "import sys\nsys.exit(3)\n", version="2.5")
    write_plugin(site, "chatty", "print('hello')\n" + GOOD.format(name="chatty"))
    write_plugin(
        site, "classless", GOOD.format(name="classless").replace("class Good", "class Godo").replace('"good"', '"lost"')
    )
    twice = GOOD.format(name="twice").replace('"good"', '"twin"')
    write_plugin(site, "twice", twice + twice.splitlines()[-1])

    def call(*arguments: str) -> str:
        command = [sys.executable, "-m", "genbench", "plugins", *arguments]
        environment = {**os.environ, "PYTHONPATH": str(site), "COLUMNS": "80"}
        done = subprocess.run(command, cwd=empty, env=environment, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        assert done.stderr == "hello\n"
        return done.stdout

    found = {plugin["name"]: plugin for plugin in json.loads(call("--json"))}
    assert (found["exits"]["distribution"], found["exits"]["version"]) == ("exits-dist", "2.5")
    assert "called sys.exit(3)" in found["exits"]["problem"]
    assert "it needs genbench >=99" in found["newer"]["problem"]
    assert found["chatty"]["problem"] is None
    assert found["chatty"]["remarks"] == ["importing it prints `hello`"]
    assert found["classless"]["problem"] is None
    assert [(u["kind"], u["name"]) for u in found["classless"]["unusable"]] == [("similarities", "lost")]
    assert [(u["kind"], u["name"]) for u in found["twice"]["unusable"]] == [("similarities", "twin")] * 2

    text = call()
    # A path is left whole, to be copied.
    assert [line for line in text.splitlines() if len(line) > 80 and str(site) not in line] == []
    _, broken, unusable, remarks = text.split("\n\n")
    assert broken.startswith("Broken\n  exits (exits-dist 2.5): importing it called sys.exit(3)")
    assert "\n  newer (newer-dist 1.0): it needs genbench >=99" in broken
    assert unusable.startswith("Names that can't be used\n  similarity `twin` is declared by twice (twice-dist 1.0)")
    assert "\n  similarity `lost` of classless (classless-dist 1.0): target" in unusable
    assert remarks == "Remarks\n  chatty (chatty-dist 1.0): importing it prints `hello`\n"
