"""What `genbench list` and `genbench show` say of recipes."""

import shlex
from collections.abc import Iterator
from dataclasses import asdict
from textwrap import fill

from genbench.recipes import Recipe, known_recipes, read_recipe

TITLE = "Recipes: known implementations, for `genbench run --recipe NAME`"
COLUMNS = ("name", "summary", "model", "dataset")


def read_all() -> list[Recipe]:
    """Return all recipes that come with genbench."""
    return [read_recipe(path) for path in known_recipes().values()]


def row(recipe: Recipe) -> list[str]:
    """Return a recipe's line in a table with COLUMNS."""
    return [recipe.name, recipe.summary, recipe.model, recipe.dataset]


def as_plain(recipe: Recipe) -> dict[str, object]:
    """Return a recipe as JSON has it, with the command that it stands for."""
    return {**asdict(recipe), "command": recipe.command()}


def lines(recipe: Recipe, width: int) -> Iterator[str]:
    """Yield all that is known of a recipe, a stranger's perhaps, broken into lines but for what is to be copied."""
    from genbench.tables import clean

    yield clean(f"recipe {recipe.name}: {recipe.summary}")
    yield clean(f"source: {recipe.source.title}")
    if recipe.source.url:
        yield f"  {clean(recipe.source.url)}"
    yield ""
    for sentence in recipe.departures:
        yield fill(clean(sentence), width, initial_indent="- ", subsequent_indent="  ")
    yield ""
    yield "The same run, spelled out:"
    yield f"  {clean(shlex.join(recipe.command()))}"
