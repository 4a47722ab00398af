"""A third party's plugin, `examples/genbench-sobel`: built, installed elsewhere, checked, trained with, and ranked."""

import json
import re
import shutil
import tomllib
from pathlib import Path

import pytest
from environments import Environment, make_environment

from genbench import __version__
from genbench.plugins import Plugins

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "genbench-sobel"

TINY = (
    *("--size", "16", "--width", "0.05", "--images", "64", "--batch-size", "16", "--device", "cpu", "--threads", "1"),
    *("-s", "dataset.count=80", "-s", "network.latent_size=4", "-s", "network.encoder_hidden=64"),
    *("--evaluators", "mse,similarity:sobel"),
)

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("sobel")


@pytest.fixture(scope="module")
def environment(folder: Path) -> Environment:
    """Return an environment in which the example's wheel is installed, and nothing else that this one has not."""
    environment = make_environment(folder)
    ignored = shutil.ignore_patterns("__pycache__", ".*_cache")
    shutil.copytree(EXAMPLE, folder / "sources" / EXAMPLE.name, ignore=ignored)
    environment.install(folder / "sources" / EXAMPLE.name, folder=folder)
    shutil.move(folder / "sources" / EXAMPLE.name / "tests", folder / "tests")
    shutil.rmtree(folder / "sources")  # from now on there is the wheel alone
    return environment


@pytest.fixture
def work(tmp_path: Path) -> Path:
    return tmp_path


def test_this_environment_knows_nothing_of_it(environment: Environment) -> None:
    assert "sobel" not in [spec.name for spec in Plugins.load().specs("similarities")]


def test_it_is_listed_with_its_distribution(environment: Environment, work: Path) -> None:
    listed = json.loads(environment.genbench("list", "similarities", "--json", cwd=work))
    (found,) = [entry for entry in listed["similarities"] if entry["name"] == "sobel"]
    assert found["origin"] == {"plugin": "sobel", "distribution": "genbench-sobel", "version": "1.0.0"}
    assert not found["clash"]
    assert {"mse", "dis-l"} < {entry["name"] for entry in listed["similarities"]}
    plugins = {plugin["name"]: plugin for plugin in json.loads(environment.genbench("plugins", "--json", cwd=work))}
    assert plugins["sobel"]["problem"] is None
    assert plugins["sobel"]["declares"]["similarities"] == ["sobel"]
    assert plugins["genbench_similarities"]["distribution"] == "genbench"
    assert "float > 0" in environment.genbench("show", "sobel", cwd=work)


def test_it_asks_for_a_genbench_that_there_is() -> None:
    project = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())["project"]
    (bound,) = [need for need in project["dependencies"] if need.startswith("genbench")]
    assert bound == f"genbench>={__version__}"


def test_it_passes_its_own_tests(environment: Environment, folder: Path) -> None:
    told = environment.run("-W", "error", "-m", "pytest", "-q", "tests", cwd=folder)
    assert re.search(r"\d+ passed", told)
    assert "failed" not in told


def test_it_passes_every_check(environment: Environment, work: Path) -> None:
    told = environment.genbench("check", "sobel", "--device", "cpu", cwd=work)  # ends with 1 where one fails
    assert "0 failed" in told


def test_it_is_trained_with_and_ranked(environment: Environment, work: Path) -> None:
    for similarity in ("sobel", "mse"):
        environment.genbench("run", "vae", "toyfaces", "--similarity", similarity, *TINY, cwd=work)
    (record,) = work.glob("runs/toyfaces/vae-sobel/*/record.json")
    origins = {(plugin["kind"], plugin["name"]): plugin for plugin in json.loads(record.read_text())["plugins"]}
    assert origins["similarity", "sobel"]["distribution"] == "genbench-sobel"
    assert origins["similarity", "sobel"]["version"] == "1.0.0"
    (table,) = json.loads(environment.genbench("compare", "--format", "json", cwd=work))["tables"]
    assert {row["similarity"] for row in table["rows"]} == {"sobel", "mse"}
    assert {"mse", "similarity-sobel"} <= {column["name"] for column in table["columns"]}
