"""Every recipe is carried out end to end, on a small budget, and those whose data is at hand on real images."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from desks import at_desk
from standins import WRITE

from genbench.cli import main
from genbench.recipes import find_recipe, known_recipes, read_recipe
from genbench.store import RunFolder

BATCH = 8


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return what writes a stand-in for a data set, once, and says where it is."""
    written: dict[str, Path] = {}

    def of(name: str) -> Path:
        if name not in written:
            written[name] = tmp_path_factory.mktemp(name)
            WRITE[name](written[name])
        return written[name]

    return of


@pytest.fixture(autouse=True)
def here(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with at_desk(tmp_path, tmp_path_factory.getbasetemp() / "recipes-cache"):
        yield


def small(name: str, source: Path) -> list[str]:
    """Return the options that make any recipe a matter of a second."""
    size = 28 if name == "mlp-logit" else 16
    return [
        *("--size", str(size), "--width", "0.05", "--images", str(3 * BATCH), "--batch-size", str(BATCH)),
        *("--evaluators", "mse", "--data", str(source), "--device", "cpu", "--threads", "1"),
    ]


def only_folder() -> RunFolder:
    (found,) = Path("runs").glob("*/*/s*")
    return RunFolder(found)


@pytest.mark.parametrize("name", sorted(known_recipes()))
def test_a_recipe_trains_is_scored_and_leaves_pictures(name: str, data: Callable[[str], Path]) -> None:
    recipe = read_recipe(find_recipe(name))
    assert main(["run", "--recipe", name, *small(name, data(recipe.dataset))]) == 0
    folder = only_folder()
    record = json.loads(folder.record_path.read_text())
    assert (record["status"], record["images_seen"]) == ("ok", 3 * BATCH)
    assert [score["name"] for score in record["scores"]] == ["mse"]
    assert (record["run"]["model"], record["run"]["dataset"]) == (recipe.model, recipe.dataset)
    config = record["config"]
    for text in recipe.settings:
        key, _, value = text.partition("=")
        section, dot, rest = key.partition(".")
        settings = config[section if dot else "model"]
        found = settings.get("settings", settings)[rest if dot else key]
        assert found == (json.loads(value) if isinstance(found, bool | int | float) else value), key
    assert {"samples.png", "reconstructions.png"} <= {path.name for path in folder.images_path.iterdir()}
    assert folder.curve_path.read_text().strip()


def test_the_same_run_spelled_out_is_the_same_run(
    data: Callable[[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    options = small("mlp-logit", data("mnist"))
    assert main(["run", "--recipe", "mlp-logit", *options]) == 0
    capsys.readouterr()
    _, *command = read_recipe(find_recipe("mlp-logit")).command()
    assert main([*command, *options]) == 0
    assert "done before" in capsys.readouterr().err
    only_folder()


def test_with_another_data_set_what_is_left_out_is_told(
    data: Callable[[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    options = [*small("vae-celeba128", data("cifar10")), "--evaluators", "none"]
    assert main(["run", "--recipe", "vae-celeba128", "vae", "cifar10", *options]) == 0
    assert "warning: vae-celeba128: of parts that you replaced, left out: dataset.centre_crop=128" in (
        capsys.readouterr().err
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mlp-logit", "larsen2016-code", "vae-celeba128"])
def test_on_real_images(name: str, shared: Path) -> None:
    assert main(["run", "--recipe", name, *small(name, shared / "data")]) == 0
    assert json.loads(only_folder().record_path.read_text())["status"] == "ok"
