"""Plugins: a fake one, installed in earnest, for each way of being broken; and what must go on working beside it."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from fakes import GOOD, HEAD, Install, only, write_plugin

import genbench
from genbench import GenbenchError
from genbench.plugins import Candidate, Plugins


def spec_plugin(name: str, **hooks: Callable[..., object]) -> ModuleType:
    module = ModuleType(name)
    for hook, function in hooks.items():
        setattr(module, hook, genbench.hookimpl(function))
    return module


BROKEN = {
    "raises": (
        "x = 1\nraise RuntimeError('no luck\\nsecond line')\n",
        ["importing it raised RuntimeError: no luck (", "raises.py:2)"],
    ),
    "exits": ("import sys\nsys.exit('bye')\n", ["importing it called sys.exit('bye')", "exits.py:2"]),
    "missing": ("import no_such_module_of_mine\n", ["ModuleNotFoundError", "no_such_module_of_mine", "missing.py:1"]),
    "syntax": ("def f(:\n", ["SyntaxError", "syntax.py, line 1"]),
    "misspelt": (
        HEAD + "@genbench.hookimpl\ndef genbench_modles():\n    return []\n",
        ["unknown hook `genbench_modles`", "did you mean `genbench_models`"],
    ),
    "hookless": ("x = 1\n", ["no hook", "@genbench.hookimpl"]),
    "undecorated": (
        "def genbench_models():\n    return []\n",
        ["`genbench_models` is not decorated with `@genbench.hookimpl`"],
    ),
    "wrongtype": (
        HEAD
        + "@genbench.hookimpl\ndef genbench_models():\n"
        + "    yield genbench.SimilaritySpec('mine', 'm', 'a:B')\n",
        ["genbench_models gave SimilaritySpec `mine`, expected ModelSpec"],
    ),
    "notspecs": (
        HEAD + "@genbench.hookimpl\ndef genbench_datasets():\n    return 5\n",
        ["genbench_datasets returned 5, expected an iterable of DatasetSpec"],
    ),
    "forgetful": (
        HEAD + "@genbench.hookimpl\ndef genbench_datasets():\n    genbench.DatasetSpec('d', 's', 'a:B')\n",
        ["genbench_datasets returned None, expected an iterable of DatasetSpec"],
    ),
    "arguments": (
        HEAD + "@genbench.hookimpl\ndef genbench_models(config):\n    return []\n",
        ["genbench_models(config)", "can not be found in the hookspec"],
    ),
    "badname": (
        HEAD + "@genbench.hookimpl\ndef genbench_models():\n    yield genbench.ModelSpec('Has Space', 's', 'a:B')\n",
        ["genbench_models raised GenbenchError", "'Has Space'", "badname.py:5"],
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_plugin_is_told_and_the_rest_works(install: Install, empty: Path, name: str) -> None:
    source, expected = BROKEN[name]
    install(name, source)
    install("working", GOOD.format(name="working"))
    plugins = Plugins.load(empty)
    problem = only(plugins, name).problem
    assert problem is not None
    assert "\n" not in problem
    for text in expected:
        assert text in problem
    assert only(plugins, name).specs == ()
    assert plugins.similarity("good").target == "working:Good"
    assert plugins.resolve("working:Good").__doc__ == "A class."
    assert plugins.origin("similarities", "good") == ("working-dist", "1.0")


def test_the_metadata_of_an_installed_plugin_is_its_origin(install: Install, empty: Path) -> None:
    install("versioned", GOOD.format(name="versioned"), version="2.3.4")
    plugin = only(Plugins.load(empty), "versioned")
    assert (plugin.distribution, plugin.version, plugin.problem) == ("versioned-dist", "2.3.4", None)


def test_an_entry_point_to_an_attribute_that_is_not_there(install: Install, empty: Path) -> None:
    install("pointless", GOOD.format(name="pointless"), value="pointless:nothing")
    assert "has no attribute 'nothing'" in (only(Plugins.load(empty), "pointless").problem or "")


def test_what_a_hook_gave_before_it_broke_still_works() -> None:
    def genbench_models() -> Any:
        yield genbench.ModelSpec("first", "s", "a:B")
        raise ValueError("then this")

    plugins = Plugins.of(spec_plugin("half", genbench_models=genbench_models))
    assert plugins.model("first").summary == "s"
    assert "genbench_models raised ValueError: then this" in (plugins.loaded[0].problem or "")


def test_one_misspelt_hook_leaves_the_others_of_its_plugin() -> None:
    plugins = Plugins.of(
        spec_plugin(
            "mixed",
            genbench_dataset=lambda: (),
            genbench_models=lambda: [genbench.ModelSpec("m", "s", "a:B")],
        )
    )
    assert plugins.model("m")
    assert "did you mean `genbench_datasets`" in (plugins.loaded[0].problem or "")


def test_what_a_plugin_prints_goes_to_stderr(install: Install, empty: Path, capsys: pytest.CaptureFixture[str]) -> None:
    chatty = "print('importing')\n" + GOOD.format(name="chatty").replace("yield", "print('declaring'); yield")
    install("chatty", chatty)
    assert Plugins.load(empty).similarity("good")
    out, err = capsys.readouterr()
    assert out == ""
    assert "importing" in err
    assert "declaring" in err


def test_an_interrupt_is_not_swallowed() -> None:
    def interrupt() -> object:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Plugins.of(Candidate("p", "d", "1", interrupt))


def test_two_plugins_with_one_name_are_both_named() -> None:
    twin, own = genbench.ModelSpec("twin", "s", "a:B"), genbench.ModelSpec("own", "s", "a:B")
    one = spec_plugin("one", genbench_models=lambda: [twin, own])
    two = spec_plugin("two", genbench_models=lambda: [twin])
    plugins = Plugins.of(
        Candidate("one", "dist-one", "1.0", lambda: one), Candidate("two", "dist-two", "2.0", lambda: two)
    )
    for ask in (plugins.model, lambda name: plugins.origin("models", name)):
        with pytest.raises(GenbenchError, match=r"model `twin`.*dist-one 1\.0.*dist-two 2\.0"):
            ask("twin")
    assert [(d.spec.name, d.clash) for d in plugins.declarations("models")] == [
        ("own", False),
        ("twin", True),
        ("twin", True),
    ]
    assert plugins.model("own")
    assert [clash.message for clash in plugins.clashes()] == [
        "model `twin` is declared by one (dist-one 1.0) and by two (dist-two 2.0)"
    ]


def test_an_object_with_methods_is_a_plugin_too() -> None:
    class Methods:
        @genbench.hookimpl
        def genbench_models(self) -> Any:
            yield genbench.ModelSpec("m", "s", "a:B")

        def genbench_datasets(self) -> Any:
            yield genbench.DatasetSpec("d", "s", "a:B")

    plugins = Plugins.of(Methods())
    assert plugins.model("m")
    assert plugins.loaded[0].problem == "`genbench_datasets` is not decorated with `@genbench.hookimpl`"


def test_one_name_for_two_kinds_is_no_clash() -> None:
    plugins = Plugins.of(
        spec_plugin(
            "p",
            genbench_models=lambda: [genbench.ModelSpec("same", "s", "a:B")],
            genbench_datasets=lambda: [genbench.DatasetSpec("same", "s", "a:B")],
        )
    )
    assert plugins.model("same").target == plugins.dataset("same").target
    assert plugins.clashes() == []


def test_an_unknown_name_gets_the_nearest_and_the_broken_plugins() -> None:
    good = spec_plugin("p", genbench_evaluators=lambda: [genbench.EvaluatorSpec("sharpness", "s", "a:B")])
    with pytest.raises(GenbenchError, match="unknown evaluator `sharpnes`") as caught:
        Plugins.of(good).evaluator("sharpnes")
    assert caught.value.hint == "did you mean `sharpness`? see `genbench list evaluators`"
    with pytest.raises(GenbenchError) as caught:
        Plugins.of(good, ModuleType("hollow")).evaluator("other")
    assert "broken plugin has it (hollow): see `genbench plugins`" in (caught.value.hint or "")


def test_a_target_that_does_not_exist(install: Install, empty: Path) -> None:
    install("classless", GOOD.format(name="classless").replace("class Good", "class Godo"))
    plugins = Plugins.load(empty)
    with pytest.raises(GenbenchError, match=r"classless \(classless-dist 1\.0\).*has no `Good`") as caught:
        plugins.resolve(plugins.similarity("good").target)
    assert "`Godo`" in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("module", "expected"),
    [
        ("nowhere_at_all", "there is no module `nowhere_at_all`"),
        ("nowhere_at_all.inside", "there is no module `nowhere_at_all`"),
        ("needy", "needs the module `not_installed_dependency`"),
        ("crashing", r"importing `crashing` raised ZeroDivisionError: division by zero \(.*crashing.py:1\)"),
        ("leaving", r"importing `leaving` called sys.exit\(3\)"),
    ],
)
def test_a_target_whose_module_does_not_import(install: Install, site: Path, module: str, expected: str) -> None:
    install("carrier", GOOD.format(name="carrier"))
    (site / "needy.py").write_text("import not_installed_dependency.part\n")
    (site / "crashing.py").write_text("1 / 0\n")
    (site / "leaving.py").write_text("import sys\nsys.exit(3)\n")
    with pytest.raises(GenbenchError, match=expected):
        Plugins.of().resolve(f"{module}:Thing")


def test_a_genbenchfile_is_a_plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "genbenchfile", raising=False)
    file = tmp_path / "genbenchfile.py"
    file.write_text(GOOD.format(name="genbenchfile"))
    plugins = Plugins.load(tmp_path)
    assert plugins.resolve(plugins.similarity("good").target).__doc__ == "A class."
    distribution, version = plugins.origin("similarities", "good")
    assert distribution == "genbenchfile.py"
    file.write_text(file.read_text() + "\n# changed\n")
    assert Plugins.load(tmp_path).origin("similarities", "good")[1] != version


def test_a_genbenchfile_with_a_syntax_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "genbenchfile", raising=False)
    (tmp_path / "genbenchfile.py").write_text("import genbench\nclass X(:\n")
    plugins = Plugins.load(tmp_path)
    assert "genbenchfile.py, line 2" in (only(plugins, "genbenchfile").problem or "")
    assert "genbenchfile" not in sys.modules
    assert len(plugins.loaded) > 1


def test_the_working_folder_is_the_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "genbenchfile", raising=False)
    (tmp_path / "genbenchfile.py").write_text(GOOD.format(name="genbenchfile"))
    monkeypatch.chdir(tmp_path)
    assert Plugins.load().similarity("good")


def test_observers_are_called_each_on_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    seen = []

    def watch(record: Any) -> None:
        seen.append(record.status)
        sys.stdout.write("watching")

    def fail(record: Any) -> None:
        raise OSError("disk is full")

    plugins = Plugins.of(
        spec_plugin("bad", genbench_run_finished=fail), spec_plugin("good", genbench_run_finished=watch)
    )
    assert [p.problem for p in plugins.loaded] == [None, None]
    record: Any = SimpleNamespace(status="ok")
    (problem,) = plugins.run_finished(record, Path("runs"))
    assert problem.startswith("plugin bad (bad 0): genbench_run_finished raised OSError: disk is full")
    assert seen == ["ok"]
    assert capsys.readouterr().out == ""


def test_the_first_party_plugins_are_sound(empty: Path) -> None:
    plugins = Plugins.load(empty)
    assert {p.distribution for p in plugins.loaded} >= {"genbench"}
    assert [p.problem for p in plugins.loaded if p.distribution == "genbench" and p.problem] == []
    for plugin in plugins.loaded:
        for spec in plugin.specs:
            assert plugins.resolve(spec.target)
            assert spec.settings is None or plugins.resolve(spec.settings)


def test_all_kinds_of_breakage_at_once_in_a_process_of_its_own(site: Path, empty: Path) -> None:
    for name, (source, _) in BROKEN.items():
        write_plugin(site, name, source)
    write_plugin(site, "working", GOOD.format(name="working"))
    (empty / "genbenchfile.py").write_text("def (\n")

    def call(*arguments: str) -> Any:
        command = [sys.executable, "-m", "genbench", *arguments, "--json"]
        environment = {**os.environ, "PYTHONPATH": str(site)}
        done = subprocess.run(command, cwd=empty, env=environment, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        assert "Traceback" not in done.stderr
        return json.loads(done.stdout)

    broken = {p["name"] for p in call("plugins") if p["problem"]}
    assert broken >= {*BROKEN, "genbenchfile"}
    assert "good" in {s["name"] for s in call("list", "similarities")["similarities"]}


def test_a_file_edited_twice_within_a_second_is_what_it_is_now(empty: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python would take the bytecode of the first, of the same size and second, and leave it in the user's folder."""
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    file = empty / "genbenchfile.py"
    found = []
    for name in ("first", "other"):
        file.write_text(GOOD.format(name="genbenchfile").replace('"good"', f'"{name}"'))
        os.utime(file, (1_000_000_000, 1_000_000_000))
        found += [spec.name for spec in only(Plugins.load(empty), "genbenchfile").specs]
        sys.modules.pop("genbenchfile", None)
    assert found == ["first", "other"]
    assert sorted(path.name for path in empty.iterdir()) == ["genbenchfile.py"]
