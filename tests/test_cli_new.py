"""`genbench new`: what it writes, what it refuses, and that what it writes works unchanged, where it is installed."""

import ast
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pytest
from environments import Environment, make_environment
from packaging.requirements import Requirement

from genbench import GenbenchError, __version__
from genbench.cli import main
from genbench.plugins import Plugins
from genbench.scaffold.naming import PART_KINDS, PLURAL, Names, PartKind, make_names
from genbench.scaffold.packages import EXAMPLES, package_files, single_file

TINY = (
    *("--size", "16", "--width", "0.05", "--images", "64", "--batch-size", "16", "--device", "cpu", "--threads", "1"),
    *("-s", "dataset.count=80", "-s", "network.latent_size=4", "-s", "network.encoder_hidden=64"),
)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Work in an empty folder, and forget what a genbenchfile there was."""
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.delitem(sys.modules, "genbenchfile", raising=False)
    yield folder
    sys.modules.pop("genbenchfile", None)


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def all_files(kind: PartKind, name: str) -> dict[str, str]:
    names = make_names(kind, name)
    return package_files(names) | {"genbenchfile.py": single_file(names)}


def names_in(source: str) -> list[str]:
    """Return the names of what a module imports and defines, as often as it does."""
    nodes = list(ast.walk(ast.parse(source)))
    imports = [node for node in nodes if isinstance(node, ast.Import | ast.ImportFrom)]
    own = [node.name for node in nodes if isinstance(node, ast.ClassDef | ast.FunctionDef)]
    return own + [alias.name for node in imports for alias in node.names]


# What is written.


@pytest.mark.parametrize("kind", PART_KINDS)
def test_a_package_is_written_and_named(kind: PartKind, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["new", kind, "my-own"]) == 0
    out, err = capsys.readouterr()
    assert out == "genbench-my-own\n"
    written = content(here / "genbench-my-own")
    assert {name: text.decode() for name, text in written.items()} == package_files(make_names(kind, "my-own"))
    assert f"src/genbench_my_own/{kind}.py" in written
    assert f"src/genbench_my_own/{kind}.py" in err
    steps = [line.strip() for line in err.splitlines()[2:]]
    assert steps[:3] == ["cd genbench-my-own", 'pip install -e ".[test]"', "python -m pytest"]
    assert steps[-1] == "genbench compare"
    assert list(here.iterdir()) == [here / "genbench-my-own"]


@pytest.mark.parametrize("kind", PART_KINDS)
def test_a_package_can_be_published(kind: PartKind) -> None:
    files = all_files(kind, "my.own_2")
    project = tomllib.loads(files["pyproject.toml"])["project"]
    assert project["name"] == "genbench-my-own-2"
    assert project["entry-points"]["genbench"] == {"genbench_my_own_2": "genbench_my_own_2"}
    needs = {need.name: need for need in map(Requirement, project["dependencies"])}
    assert str(needs["genbench"].specifier) == f">={__version__}"
    assert needs["annotated-types"].specifier.contains(version("annotated-types"))
    assert EXAMPLES[kind].summary in project["description"]
    assert not [name for name, text in files.items() if "$" in text]


@pytest.mark.parametrize("kind", PART_KINDS)
def test_the_declaration_and_the_settings_import_no_torch(kind: PartKind) -> None:
    for name, text in all_files(kind, "mine").items():
        if name.endswith(("__init__.py", "settings.py")):
            imported = {node.module for node in ast.walk(ast.parse(text)) if isinstance(node, ast.ImportFrom)}
            assert imported <= {"collections.abc", "dataclasses", "typing", "annotated_types"}


@pytest.mark.parametrize("kind", PART_KINDS)
@pytest.mark.parametrize(
    "name",
    [*"abz", "view", "none-such", "tensor", "settings", "exception", "true", "2afc", "data-request", "ge", "x.y"],
)
def test_the_class_takes_the_name_of_nothing_else(kind: PartKind, name: str) -> None:
    names = make_names(kind, name)
    for place, text in all_files(kind, name).items():
        if place.endswith(".py"):
            found = names_in(text)
            assert found.count(names.class_name) <= 1
            assert names.class_name in found or f"{kind}.py" not in place


@pytest.mark.parametrize("kind", PART_KINDS)
def test_whatever_a_class_is_called_it_hides_nothing_that_its_module_imports(kind: PartKind) -> None:
    sources = [text for place, text in all_files(kind, "mine").items() if place.endswith(".py")]
    known = {name for text in sources if "Mine" in names_in(text) for name in names_in(text)} - {"Mine"}
    assert "Settings" in known
    for name in (name for name in known if name[0].isupper()):
        assert make_names(kind, re.sub("(?<=[a-z])(?=[A-Z])", "-", name).lower()).class_name != name


@pytest.mark.parametrize("kind", PART_KINDS)
def test_one_file_is_a_plugin_where_it_lies(kind: PartKind, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["new", kind, "mine", "--file"]) == 0
    out, err = capsys.readouterr()
    assert out == "genbenchfile.py\n"
    assert "genbench check mine" in err
    assert content(here) == {"genbenchfile.py": single_file(Names(kind, "mine")).encode()}
    plugins = Plugins.load(here)
    (found,) = [d for d in plugins.declarations(PLURAL[kind]) if d.spec.name == "mine"]
    assert (found.plugin.distribution, found.plugin.problem) == ("genbenchfile.py", None)
    assert found.spec.target == "genbenchfile:Mine"
    assert len(single_file(Names(kind, "mine")).splitlines()) <= 60


def test_a_folder_is_made_where_there_is_none(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["new", "model", "deep", "--folder", "a b/c"]) == 0
    out, err = capsys.readouterr()
    assert out == "a b/c/genbench-deep\n"
    assert "cd 'a b/c/genbench-deep'" in err
    assert main(["new", "model", "deeper", "--file", "--folder", "a b/d"]) == 0
    assert "cd 'a b/d'" in capsys.readouterr().err
    assert (here / "a b" / "d" / "genbenchfile.py").is_file()


# What is refused.


@pytest.mark.parametrize(
    ("name", "told", "hint"),
    [
        ("a:b", "':' has a meaning", "such as `a-b`"),
        ("mse+l1", "'+' has a meaning: it makes mixtures", "such as `mse-l1`"),
        ("a,b", "',' has a meaning", "such as `a-b`"),
        ("MyMetric", "expected lower-case letters", "such as `my-metric`"),
        ("-x", "No such option", None),
        ("x-", "expected lower-case letters", "such as `x`"),
        (".x", "expected lower-case letters", "such as `x`"),
        ("über", "expected lower-case letters", "such as `ber`"),
        ("../x", "expected lower-case letters", "such as `x`"),
        ("a\nb", "expected lower-case letters", "such as `a-b`"),
        ("", "expected lower-case letters", "such as `my-model`"),
        ("…", "expected lower-case letters", "such as `my-model`"),
        ("x" * 65, "65 characters, expected at most 64", f"such as `{'x' * 64}`"),
        ("none", "it means that there is no model", "such as `my-model`"),
        ("genbench-deep", "the package gets `genbench-` before its name", "genbench new model deep"),
        ("genbench_deep", "the package gets `genbench-` before its name", "genbench new model deep"),
        ("genbench.deep", "the package gets `genbench-` before its name", "genbench new model deep"),
        ("genbench-", "the package gets `genbench-` before its name", None),
    ],
)
def test_a_bad_name_is_told_with_a_better_one(
    name: str, told: str, hint: str | None, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["new", "model", name]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert told in err
    assert hint is None or f"hint: {hint}" in err
    assert list(here.iterdir()) == []


@pytest.mark.parametrize("options", [[], ["--file"]])
def test_a_name_that_is_taken_is_told_with_its_owner(
    options: list[str], here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["new", "similarity", "mse", *options]) == 2
    err = capsys.readouterr().err
    assert f"similarity `mse` is there already, from plugin genbench_similarities (genbench {__version__})" in err
    assert list(here.iterdir()) == []


def test_a_package_that_is_there_is_told_with_its_owner(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["new", "similarity", "vaegan"]) == 2  # no similarity is called so, but its package would be
    told = "its package would be `genbench_vaegan`, which is there already: genbench_vaegan (genbench"
    assert told in capsys.readouterr().err
    assert main(["new", "similarity", "vaegan", "--file"]) == 0


def test_a_module_that_is_no_plugin_is_told_with_its_place(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "lib").mkdir()
    (here / "lib" / "genbench_odd.py").write_text("raise SystemExit\n")
    monkeypatch.syspath_prepend(str(here / "lib"))
    assert main(["new", "model", "odd"]) == 2
    assert str(here / "lib" / "genbench_odd.py") in capsys.readouterr().err


def test_a_distribution_of_that_name_is_told(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    info = here / "lib" / "genbench_far_away-2.1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: genbench-far-away\nVersion: 2.1\n")
    monkeypatch.syspath_prepend(str(here / "lib"))
    assert main(["new", "model", "far.away"]) == 2
    assert "its distribution would be `genbench-far-away`, of which 2.1 is installed" in capsys.readouterr().err


def test_a_name_of_the_working_folders_file_is_taken(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["new", "evaluator", "mine", "--file"]) == 0
    assert main(["new", "evaluator", "mine"]) == 2
    err = capsys.readouterr().err
    assert "evaluator `mine` is there already, from plugin genbenchfile (genbenchfile.py" in err
    assert "hint: rename genbenchfile.py first" in err
    assert main(["new", "evaluator", "mine", "--file", "--folder", "elsewhere"]) == 0


@pytest.mark.parametrize("what", ["folder", "file", "dangling link"])
def test_nothing_is_overwritten(what: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = here / "genbench-mine"
    if what == "folder":
        target.mkdir()
        (target / "thesis.tex").write_text("years of work")
    elif what == "file":
        target.write_text("years of work")
    else:
        target.symlink_to(here / "nowhere")
    before = content(here)
    assert main(["new", "model", "mine"]) == 2
    err = capsys.readouterr().err
    assert "genbench-mine is there already" in err
    assert ("thesis.tex" in err) == (what == "folder")
    assert "--folder" in err
    assert content(here) == before


def test_a_genbenchfile_is_not_overwritten(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "genbenchfile.py").write_text("# years of work\n")
    assert main(["new", "model", "mine", "--file"]) == 2
    err = capsys.readouterr().err
    assert "error: genbenchfile.py is there already" in err
    assert "add the model to it by hand" in err
    assert content(here) == {"genbenchfile.py": b"# years of work\n"}


@pytest.mark.parametrize("options", [[], ["--file"]])
def test_a_place_that_is_no_folder_is_told(options: list[str], here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "taken").write_text("")
    assert main(["new", "model", "mine", "--folder", "taken", *options]) == 2
    err = capsys.readouterr().err
    assert "error: can't write" in err
    assert "bug" not in err
    assert content(here) == {"taken": b""}


def test_half_a_package_is_never_left(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_text = Path.write_text

    def full(path: Path, text: str, **how: str) -> int:
        if path.name == "settings.py":
            raise OSError(28, "No space left on device", str(path))
        return write_text(path, text, **how)

    monkeypatch.setattr(Path, "write_text", full)
    assert main(["new", "model", "mine"]) == 2
    assert "can't write genbench-mine: No space left on device" in capsys.readouterr().err
    assert list(here.iterdir()) == []


def test_half_a_file_is_never_left(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(names: Names) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("genbench.scaffold.packages.single_file", full)
    assert main(["new", "model", "mine", "--file"]) == 2
    assert "can't write genbenchfile.py: No space left on device" in capsys.readouterr().err
    assert list(here.iterdir()) == []


@pytest.mark.parametrize(
    "arguments", [["new"], ["new", "model"], ["new", "extractor", "x"], ["new", "model", "x", "y"]]
)
def test_a_wrong_command_is_told(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    assert "see `genbench new --help`" in capsys.readouterr().err


def test_it_starts_without_torch(here: Path) -> None:
    script = (
        "import sys; from genbench.cli import main; status = main(sys.argv[1:]); "
        "print(status, *{name.split('.')[0] for name in sys.modules} & {'torch', 'numpy', 'pydantic', 'rich', 'scipy'})"
    )
    command = [sys.executable, "-c", script, "new", "model", "mine"]
    done = subprocess.run(command, cwd=here, capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == ["genbench-mine", "0"]


def test_names_are_checked_before_anything_is_loaded() -> None:
    with pytest.raises(GenbenchError, match="expected lower-case letters"):
        make_names("model", "A")


# That it works, where it is installed.


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Environment, Path]:
    """Return an environment with a package of each kind, and the folder where they were written."""
    folder = tmp_path_factory.mktemp("new")
    for kind in PART_KINDS:
        assert main(["new", kind, f"new-{kind}", "--folder", str(folder / "packages")]) == 0
    environment = make_environment(folder)
    (folder / "wheels").mkdir()
    environment.install(*sorted((folder / "packages").iterdir()), folder=folder / "wheels")
    return environment, folder


@pytest.mark.slow
def test_packages_pass_their_own_tests(installed: tuple[Environment, Path]) -> None:
    environment, folder = installed
    told = environment.run("-W", "error", "-m", "pytest", "-q", cwd=folder / "packages")
    for kind in PART_KINDS:
        (count,) = re.findall(rf"^{kind} new-{kind}: (\d+) ran, \1 passed", told, re.MULTILINE)
        assert int(count) >= 8


@pytest.mark.slow
def test_packages_train_and_are_ranked_together(installed: tuple[Environment, Path], tmp_path: Path) -> None:
    environment, _ = installed
    for similarity in ("new-similarity", "mse"):
        run = ("run", "new-model", "new-dataset", "--similarity", similarity)
        environment.genbench(*run, "--evaluators", "mse,new-evaluator", *TINY, cwd=tmp_path)
    (table,) = json.loads(environment.genbench("compare", "--format", "json", cwd=tmp_path))["tables"]
    assert table["dataset"] == "new-dataset"
    assert [column["name"] for column in table["columns"]][:2] == ["mse", "new-evaluator"]
    assert {(row["model"], row["similarity"]) for row in table["rows"]} == {
        ("new-model", "new-similarity"),
        ("new-model", "mse"),
    }
