"""Recipes: what a file says, what is wrong with it, what a user may change, and how they are listed."""

import json
from pathlib import Path
from typing import Any

import pytest
from walking import parsed, request_of

from genbench.cli import main
from genbench.errors import GenbenchError
from genbench.plugins import Plugins
from genbench.recipes import Recipe, applied, find_recipe, known_recipes, read_recipe
from genbench.resolution import RunRequest, resolve

FAMILIES = {
    *("larsen2016", "larsen2016-code", "larsen2016-code-cifar10", "larsen2016-code-stl10", "larsen2016-code-lfw"),
    *("larsen2015-pixel", "conv-mean", "conv-mean-cifar10", "mlp-logit", "vae-celeba128", "faces-z256"),
}

WHOLE = """
summary = "one"
source = { title = "somebody" }
departures = ["None."]
model = "vaegan"
dataset = "celeba"
similarity = "dis-l"
similarity_weight = 2
size = 64
images = 100_000
batch_size = 32
[settings]
gamma = 15
saturating = true
"similarity.reduction" = "mean"
"dataset.blur" = 0.5
"training.learning_rate" = 1e-3
"network.latent_size" = 32
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "mine.toml"
    path.write_text(text)
    return path


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    return read_recipe(write(tmp_path, WHOLE))


def asked(**options: Any) -> RunRequest:
    return RunRequest(**{"model": "", "dataset": "", **options})


def test_a_file_becomes_a_run(recipe: Recipe) -> None:
    assert (recipe.name, recipe.summary, recipe.source.title, recipe.source.url) == ("mine", "one", "somebody", "")
    run, left_out = applied(recipe, asked())
    assert left_out == ()
    assert run == RunRequest(
        "vaegan",
        "celeba",
        similarity="dis-l",
        similarity_weight="2",
        size=64,
        images=100_000,
        batch_size=32,
        settings=(
            *("gamma=15", "saturating=true", "similarity.reduction=mean", "dataset.blur=0.5"),
            *("training.learning_rate=0.001", "network.latent_size=32"),
        ),
    )


def test_what_the_user_says_wins(recipe: Recipe) -> None:
    said = asked(
        similarity_weight="auto",
        seed=3,
        size=16,
        width=0.5,
        images=10,
        batch_size=8,
        precision="float32",
        evaluators=("mse",),
        settings=("gamma = 1", "training.flip=false"),
    )
    run, left_out = applied(recipe, said)
    assert left_out == ()
    assert (run.model, run.dataset, run.similarity, run.similarity_weight) == ("vaegan", "celeba", "dis-l", "auto")
    assert (run.seed, run.size, run.width, run.images, run.batch_size) == (3, 16, 0.5, 10, 8)
    assert (run.precision, run.evaluators) == ("float32", ("mse",))
    assert "gamma=15" not in run.settings
    assert run.settings[-2:] == ("gamma = 1", "training.flip=false")
    assert len(run.settings) == 7


def test_a_part_that_is_replaced_takes_its_settings_along(recipe: Recipe) -> None:
    run, left_out = applied(recipe, asked(dataset="toyfaces"))
    assert left_out == ("dataset.blur=0.5",)
    assert (run.dataset, run.similarity_weight, run.size) == ("toyfaces", "2", 64)
    run, left_out = applied(recipe, asked(similarity="mse"))
    assert set(left_out) == {"similarity.reduction=mean", "similarity_weight=2"}
    assert (run.similarity, run.similarity_weight) == ("mse", None)
    run, left_out = applied(recipe, asked(similarity="mse", similarity_weight="3"))
    assert left_out == ("similarity.reduction=mean",)
    run, left_out = applied(recipe, asked(model="vae", settings=("gamma=2",)))
    assert set(left_out) == {"similarity=dis-l", "similarity_weight=2", "similarity.reduction=mean", "saturating=true"}
    assert (run.model, run.similarity, run.similarity_weight) == ("vae", None, None)
    assert run.settings[0] == "dataset.blur=0.5"
    same, left_out = applied(recipe, asked(model="vaegan", dataset="celeba", similarity="dis-l"))
    assert (same, left_out) == (applied(recipe, asked())[0], ())


def test_a_preset_lowers_what_the_recipe_says_and_not_what_the_user_says(recipe: Recipe) -> None:
    plugins = Plugins.load()
    config = resolve(plugins, applied(recipe, asked(preset="quick"))[0])
    assert (config.dataset.size, config.network.width, config.training.images) == (32, 0.25, 30_000)
    config = resolve(plugins, applied(recipe, asked(preset="quick", size=48, images=50_000))[0])
    assert (config.dataset.size, config.network.width, config.training.images) == (48, 0.25, 50_000)
    with pytest.raises(GenbenchError, match="unknown preset `quik`"):
        resolve(plugins, applied(recipe, asked(preset="quik"))[0])


@pytest.mark.parametrize(
    ("change", "message", "hint"),
    [
        (("summary", "sumary"), "unknown key `sumary`", "did you mean `summary`"),
        (('model = "vaegan"', ""), "no model, expected a text", "larsen2016.toml"),
        (('departures = ["None."]', "departures = []"), "departures is [], expected a list of sentences", ""),
        (('departures = ["None."]', "departures = 'None'"), "departures is 'None', expected a list", ""),
        (('{ title = "somebody" }', '"somebody"'), "source is 'somebody', expected a table", ""),
        (('{ title = "somebody" }', '{ titel = "somebody" }'), "source: unknown key `titel`", "`title`"),
        (('{ title = "somebody" }', '{ url = "https://…" }'), "source: no title", ""),
        (("size = 64", "size = 64.0"), "size is 64.0, expected a whole number over 0", ""),
        (("size = 64", "size = true"), "size is true, expected a whole number", ""),
        (("size = 64", "size = 0"), "size is 0, expected a whole number over 0", ""),
        (("size = 64", "width = inf"), "width is inf, expected a number over 0", ""),
        (("weight = 2", "weight = 'much'"), "similarity_weight is 'much', expected `auto`", ""),
        (("weight = 2", "weight = -1"), "similarity_weight is -1, expected", ""),
        (("[settings]", "[setings]"), "unknown key `setings`", "`settings`"),
        (("gamma = 15", "gamma = [15]"), "settings.gamma is [15], expected a text, a number", ""),
        (("gamma = 15", "gamma = nan"), "settings.gamma is nan, expected", ""),
        (("gamma = 15", "network.kind = 'mlp'"), "settings.network is a table", '"network.kind" = …'),
        (("gamma = 15", '"training.images" = 5'), "settings.training.images has a key of its own", "write images ="),
        (('summary = "one"', "summary = "), "not TOML", "larsen2016.toml"),
    ],
    ids=lambda value: value[1] if isinstance(value, tuple) else "",
)
def test_what_is_wrong_is_said_with_its_place(tmp_path: Path, change: tuple[str, str], message: str, hint: str) -> None:
    assert change[0] in WHOLE
    with pytest.raises(GenbenchError) as caught:
        read_recipe(write(tmp_path, WHOLE.replace(*change, 1)))
    assert message in caught.value.message
    assert "mine.toml" in caught.value.message
    assert hint in (caught.value.hint or "")


def test_they_are_found_by_name_from_any_folder_or_by_their_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert set(known_recipes()) == FAMILIES
    assert find_recipe("conv-mean") == known_recipes()["conv-mean"]
    write(tmp_path, WHOLE)
    assert find_recipe("mine.toml") == Path("mine.toml")
    with pytest.raises(GenbenchError, match="unknown recipe `larsen2061`") as caught:
        find_recipe("larsen2061")
    assert "did you mean `larsen2016`" in str(caught.value.hint)
    with pytest.raises(GenbenchError, match=r"yours\.toml: no such file"):
        find_recipe("yours.toml")


@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_each_is_sound_and_the_same_as_its_command(name: str) -> None:
    plugins = Plugins.load()
    recipe = read_recipe(find_recipe(name))
    config = resolve(plugins, applied(recipe, asked())[0])
    assert isinstance(config.training.similarity_weight, float)  # a measured weight is not what the source has
    assert config.training.batch_size in (64, 128)
    program, command, *words = recipe.command()
    params = parsed(command, words)
    assert program == "genbench"
    assert resolve(plugins, request_of(params)).hash() == config.hash()
    assert all(sentence.endswith(".") for sentence in recipe.departures)


def test_listing_and_showing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "recipes", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert list(listed) == ["recipes"]
    assert {recipe["name"] for recipe in listed["recipes"]} == FAMILIES
    assert main(["list", "--json"]) == 0
    assert {"models", "recipes"} <= json.loads(capsys.readouterr().out).keys()
    assert main(["list"]) == 0
    assert "larsen2016-code-stl10" in capsys.readouterr().out
    assert main(["list", "models"]) == 0
    assert "larsen2016-code-stl10" not in capsys.readouterr().out
    assert main(["show", "mlp-logit"]) == 0
    out = capsys.readouterr().out
    assert "https://github.com/edchengg/VAE_GAN" in out
    assert "never clears" in " ".join(out.split())
    assert "genbench run vaegan mnist --similarity dis-l" in out
    assert main(["show", str(write(tmp_path, WHOLE)), "--json"]) == 0
    (shown,) = json.loads(capsys.readouterr().out)
    assert (shown["kind"], shown["name"], shown["source"]) == ("recipes", "mine", {"title": "somebody", "url": ""})
    assert main(["show", "mlp-logi"]) == 2
    assert "did you mean `mlp-logit`" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ([], "Missing argument 'MODEL'"),
        (["vae"], "Missing argument 'DATASET'"),
        (["--recipe", "larsn2016"], "unknown recipe `larsn2016`"),
        (["--recipe", "conv-mean", "vaegna"], "unknown model `vaegna`"),
        (["--recipe", "conv-mean", "-s", "gama=1"], "`vaegan` has no setting `gama`"),
    ],
)
def test_a_wrong_command_says_so(arguments: list[str], error: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", *arguments]) == 2
    assert error in capsys.readouterr().err


HOSTILE = """
summary = "red \\u001b[31m\\nline"
source = { title = "\\u001b]0;title\\u0007", url = "\\u001b[2J" }
departures = ["\\u001b[1m bold"]
model = "vae\\u001b[31m"
dataset = "digits"
"""


def test_a_strangers_recipe_commands_no_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", str(write(tmp_path, HOSTILE))]) == 0
    out = capsys.readouterr().out
    assert all(c.isprintable() or c == "\n" for c in out)
    assert "recipe mine: red [31m line" in out


def test_a_file_of_a_recipes_name_does_not_stand_in_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("larsen2016", "mine"):
        Path(name).write_text(WHOLE)
    assert find_recipe("larsen2016") == known_recipes()["larsen2016"]
    assert find_recipe("./larsen2016") == find_recipe("mine").with_name("larsen2016")


def test_a_recipes_file_is_shown_by_any_path(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine").write_text(WHOLE)
    assert main(["show", str(tmp_path / "mine")]) == 0
    assert "recipe mine: one" in capsys.readouterr().out
    assert main(["show", "/dev/null"]) == 2
    assert "/dev/null: no regular file" in capsys.readouterr().err
