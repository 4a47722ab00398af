"""The shell of the command line: errors, exit statuses, and the commands that list and show."""

import errno
import json
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import click
import pytest

from genbench import GenbenchError
from genbench.cli import COMMANDS, group, main
from genbench.cli.show import read_settings
from genbench_evaluators.distribution_settings import KernelSettings

FILE = '''
from dataclasses import dataclass
from typing import Annotated, Literal

import genbench
from annotated_types import Gt, Le


class Mine:
    """Mine is the first line.

    And this is another paragraph.
    """


@dataclass(frozen=True)
class MineSettings:
    power: Annotated[float, "exponent of the error", Gt(0), Le(4)] = 1.5
    mode: Annotated[Literal["sum", "mean"], "how to reduce"] = "sum"
    plain: int | None = None


@genbench.hookimpl
def genbench_similarities():
    yield genbench.SimilaritySpec(
        "mine", "my own [bold]idea[/bold]", "genbenchfile:Mine", "genbenchfile:MineSettings",
        genbench.Needs(discriminator=True, min_size=32, channels=3),
    )
    yield genbench.SimilaritySpec("phantom", "has no class", "genbenchfile:Phantom")


@genbench.hookimpl
def genbench_evaluators():
    yield genbench.EvaluatorSpec("sharp", "how sharp", "genbenchfile:Mine", version=7)


@genbench.hookimpl
def genbench_datasets():
    yield genbench.DatasetSpec("mine", "a set of that name, too", "genbenchfile:Mine", size=64, images=2_000_000)
'''


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a genbenchfile; output as on a terminal of 80 columns."""
    monkeypatch.delitem(sys.modules, "genbenchfile", raising=False)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "genbenchfile.py").write_text(FILE)
    return tmp_path


def command_that(monkeypatch: pytest.MonkeyPatch, error: BaseException | None = None, result: object = None) -> None:
    """Add a command `try` that raises or returns."""

    @click.command()
    def attempt() -> object:
        if error is not None:
            raise error
        return result

    module = ModuleType("attempting")
    module.attempt = attempt  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "attempting", module)
    monkeypatch.setitem(COMMANDS, "try", ("attempting:attempt", "try"))


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_of_the_table_exists_and_says_what_it_does(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert isinstance(group.get_command(click.Context(group), name), click.Command)
    assert main([name, "--help"]) == 0
    assert f"Usage: genbench {name}" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"]])
def test_help_lists_every_command(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 0
    out = capsys.readouterr().out
    for name, (_, text) in COMMANDS.items():
        assert re.search(rf"^  {name}\s+{re.escape(text)}$", out, re.MULTILINE)
    assert "\n    genbench compare" in out


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert re.fullmatch(r"genbench \d+\.\d+\.\d+\S*\n", capsys.readouterr().out)


@pytest.mark.parametrize(
    ("arguments", "error", "hint"),
    [
        (["lst"], "error: unknown command `lst`", "hint: did you mean `list`?"),
        (["list", "--jsn"], "error: genbench list: No such option", "hint: see `genbench list --help`"),
        (["list", "cheeses"], "error: genbench list: Invalid value", "hint: see `genbench list --help`"),
        (["show"], "error: genbench show: Missing argument", "hint: see `genbench show --help`"),
        (["--nonsense"], "error: genbench: No such option", "hint: see `genbench --help`"),
        (["show", "mnie"], "error: nothing is called `mnie`", "hint: did you mean `mine`"),
    ],
)
def test_a_wrong_command_is_told_on_stderr_and_exits_2(
    folder: Path, arguments: list[str], error: str, hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert error in err
    assert hint in err


def test_an_error_keeps_its_own_status(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    command_that(monkeypatch, GenbenchError("a.toml: run 3: failed [red]", "look there", exit_code=1))
    assert main(["try"]) == 1
    assert capsys.readouterr().err == "error: a.toml: run 3: failed [red]\nhint: look there\n"


@pytest.mark.parametrize(("result", "status"), [(None, 0), (1, 1), (0, 0)])
def test_what_a_command_returns_is_the_status(
    result: object, status: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command_that(monkeypatch, result=result)
    assert main(["try"]) == status
    assert capsys.readouterr() == ("", "")


def test_an_interrupt_exits_130(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    command_that(monkeypatch, KeyboardInterrupt())
    assert main(["try"]) == 130
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize("error", [ZeroDivisionError("oops"), EOFError("cut short"), SystemExit(3)])
def test_a_bug_shows_its_traceback_and_says_so(
    error: BaseException, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command_that(monkeypatch, error)
    assert main(["try"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert "Traceback" in err
    assert f"error: unexpected {type(error).__name__}: this is a bug" in err


def test_no_color_is_respected(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    command_that(monkeypatch, GenbenchError("no"))
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.delenv("NO_COLOR", raising=False)
    main(["try"])
    assert "\x1b[" in capsys.readouterr().err
    monkeypatch.setenv("NO_COLOR", "1")
    main(["try"])
    assert capsys.readouterr().err == "error: no\n"


@pytest.mark.parametrize("arguments", [["list"], ["list", "--json"], ["--help"]])
def test_a_reader_that_goes_away_is_no_reason_to_complain(tmp_path: Path, arguments: list[str]) -> None:
    command = [sys.executable, "-m", "genbench", *arguments]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        err = process.stderr.read()
    assert "Traceback" not in err
    assert "BrokenPipe" not in err


def listed(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    assert main([*arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_list_prints_tables_that_fit(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"]) == 0
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 80
    assert [line.split(",")[0] for line in out.splitlines() if re.match("Models|Simil|Eval|Feat|Data", line)] == [
        "Models",
        "Similarities",
        "Evaluators",
        "Feature extractors",
        "Data sets",
    ]
    assert re.search(r"^mine +my own \[bold\]idea", out, re.MULTILINE)
    assert re.search(r"^mine +a set of that name.* 3×64×64 +1 +2,000,000 +no", out, re.MULTILINE)


def test_list_of_one_kind(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "similarities"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "Models" not in out
    assert "a discriminator," in out
    assert list(listed(capsys, "list", "similarities")) == ["similarities"]


def test_list_as_json_holds_every_field(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    document = listed(capsys, "list")
    assert list(document) == ["models", "similarities", "evaluators", "extractors", "datasets", "recipes"]
    (mine,) = [s for s in document["similarities"] if s["name"] == "mine"]
    assert mine["needs"] == {"discriminator": True, "min_size": 32, "channels": 3}
    assert mine["origin"]["distribution"] == "genbenchfile.py"
    assert mine["clash"] is False
    assert [e["version"] for e in document["evaluators"] if e["name"] == "sharp"] == [7]
    assert [m["name"] for m in document["models"]] == sorted(m["name"] for m in document["models"])


def test_list_tells_of_broken_plugins_on_stderr(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "genbenchfile.py").write_text("1 / 0\n")
    assert main(["list", "--json"]) == 0
    out, err = capsys.readouterr()
    json.loads(out)
    assert "warning: plugin genbenchfile (genbenchfile.py sha256-" in err
    assert "raised ZeroDivisionError: division by zero" in err


CLASH = """
import genbench

@genbench.hookimpl
def genbench_models():
    yield genbench.ModelSpec("twin", "the first", "genbenchfile:One")
    yield genbench.ModelSpec("twin", "the second", "genbenchfile:Two")

class One: ...
class Two: ...
"""


def test_a_clash_is_marked_and_warned_of(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "genbenchfile.py").write_text(CLASH)
    assert main(["list", "models"]) == 0
    out, err = capsys.readouterr()
    assert len(re.findall(r"^twin +CLASH", out, re.MULTILINE)) == 2
    assert "warning: model `twin` is declared by genbenchfile" in err
    assert main(["show", "twin"]) == 2
    out, err = capsys.readouterr()
    assert "the first" in out
    assert "the second" in out
    assert "error: model `twin` is declared by genbenchfile" in err


def test_plugins_lists_what_each_declares_or_its_problem(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (mine,) = [p for p in listed(capsys, "plugins") if p["name"] == "genbenchfile"]
    assert mine["declares"] == {
        "models": [],
        "similarities": ["mine", "phantom"],
        "evaluators": ["sharp"],
        "extractors": [],
        "datasets": ["mine"],
    }
    assert mine["problem"] is None
    assert main(["plugins"]) == 0
    out = capsys.readouterr().out
    assert "similarities: mine, phantom" in out
    assert max(map(len, out.splitlines())) <= 80
    (folder / "genbenchfile.py").write_text("x = 1\n")
    assert main(["plugins"]) == 0
    out = capsys.readouterr().out
    assert re.search(r"^genbenchfile .* BROKEN, see below *$", out, re.MULTILINE)
    assert "  genbenchfile (genbenchfile.py sha256-" in out.partition("\nBroken\n")[2]


def test_show_tells_all_of_every_kind_of_that_name(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    similarity, dataset = listed(capsys, "show", "mine")
    assert (similarity["kind"], dataset["kind"]) == ("similarities", "datasets")
    assert similarity["doc"] == "Mine is the first line.\n\nAnd this is another paragraph."
    assert similarity["settings"] == [
        {"name": "power", "type": "float > 0, <= 4", "default": 1.5, "doc": "exponent of the error"},
        {"name": "mode", "type": "sum | mean", "default": "sum", "doc": "how to reduce"},
        {"name": "plain", "type": "int | None", "default": None, "doc": ""},
    ]
    assert dataset["settings"] == []
    assert main(["show", "mine"]) == 0
    out = capsys.readouterr().out
    assert "similarity mine: my own [bold]idea[/bold]" in out
    assert "dataset mine: a set of that name, too" in out
    assert re.search(r"^power +float > 0, <= 4 +1\.5 +exponent of the error", out, re.MULTILINE)
    assert "And this is another paragraph." in out
    assert "It has no settings." in out


def test_bounds_may_stand_in_pydantics_field() -> None:
    kinds = {s.name: s.type for s in read_settings("a:B", KernelSettings)}
    assert kinds["subset_size"] == "int >= 2, <= 10000"


def test_show_of_a_target_that_does_not_exist_is_an_error(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "phantom"]) == 2
    out, err = capsys.readouterr()
    assert "similarity phantom: has no class" in out
    assert "error: `genbenchfile:Phantom`" in err
    assert "module `genbenchfile` has no `Phantom`" in err


class NotData:
    pass


def test_settings_must_be_a_dataclass_with_defaults() -> None:
    import dataclasses

    with pytest.raises(GenbenchError, match="not a dataclass"):
        list(read_settings("a:B", NotData))
    with pytest.raises(GenbenchError, match="field `x` has no default"):
        list(read_settings("a:B", dataclasses.make_dataclass("Bare", [("x", int)])))
    with pytest.raises(GenbenchError, match="NameError in an annotation"):
        list(read_settings("a:B", dataclasses.make_dataclass("Odd", [("x", "Nowhere", 1)])))


def test_a_full_disk_behind_stdout_is_no_bug(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    command_that(monkeypatch, OSError(errno.ENOSPC, "No space left on device"))
    monkeypatch.setattr("genbench.cli._reader_has_gone", lambda: 1)
    assert main(["try"]) == 1
    assert capfd.readouterr().err.startswith("error: cannot write: No space left on device\n")


def test_stdout_may_be_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    command_that(monkeypatch)
    monkeypatch.setattr(sys, "stdout", None)
    assert main(["try"]) == 0


def test_what_is_told_is_no_code_for_the_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command_that(monkeypatch, GenbenchError("esc\x1b[31m/record.json: broken", "two\nlines"))
    assert main(["try"]) == 2
    assert capsys.readouterr().err == "error: esc [31m/record.json: broken\nhint: two\nlines\n"
