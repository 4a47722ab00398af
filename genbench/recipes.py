"""Recipes: known implementations as runs that can be given by name. Imports neither torch nor pydantic.

A recipe is a TOML file, data only: what it is, where it comes from, where it departs from the paper, and the options of
`genbench run`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genbench.authored import find_file, known_files, plain, read_toml, split_name, unknown_key, wrong_value
from genbench.errors import GenbenchError

if TYPE_CHECKING:
    from genbench.resolution import RunRequest

_EXAMPLE = "see benchmarks/recipes/larsen2016.toml for an example"

_OWN_KEYS = {
    "network.width": "width",
    "training.images": "images",
    "training.batch_size": "batch_size",
    "training.similarity_weight": "similarity_weight",
}
"""Settings that have a key of their own: said twice, what the command line says could not win."""


@dataclass(frozen=True)
class Source:
    """Where a recipe comes from.

    Attributes:
        url: empty where nothing public was found to hold all of it.
    """

    title: str
    url: str = ""


@dataclass(frozen=True)
class Recipe:
    """A recipe's file.

    Attributes:
        name: of its file, without the ending.
        departures: in sentences: where it departs from the paper, and where ours departs from its source.
        similarity_weight: as `genbench run` takes it.
        settings: `key=value`, as `genbench run` takes them.
    """

    name: str
    summary: str
    source: Source
    departures: tuple[str, ...]
    model: str
    dataset: str
    similarity: str | None = None
    similarity_weight: str | None = None
    size: int | None = None
    width: float | None = None
    images: int | None = None
    batch_size: int | None = None
    settings: tuple[str, ...] = ()

    def command(self) -> list[str]:
        """Return the words of the command that makes the same run without it."""
        options = {
            "--similarity": self.similarity,
            "--similarity-weight": self.similarity_weight,
            "--size": self.size,
            "--width": self.width,
            "--images": self.images,
            "--batch-size": self.batch_size,
        }
        given = [word for option, value in options.items() if value is not None for word in (option, str(value))]
        return [
            "genbench",
            "run",
            self.model,
            self.dataset,
            *given,
            *(w for text in self.settings for w in ("-s", text)),
        ]


def known_recipes() -> dict[str, Path]:
    """Return the recipes that come with genbench, by name."""
    return known_files("recipes")


def find_recipe(name: str) -> Path:
    """Return the file of a recipe: a path, or the name of one that comes with genbench.

    Raises:
        GenbenchError: there is neither.
    """
    return find_file("recipe", name, known_recipes())


def read_recipe(path: Path) -> Recipe:
    """Read a recipe's file.

    Raises:
        GenbenchError: it can't be read, is not TOML, lacks a key, has an unknown one or a value of the wrong type.
    """
    value = read_toml(path, _EXAMPLE)
    _check(f"{path}", value, _KEYS, required=("summary", "source", "departures", "model", "dataset"))
    source = value["source"]
    _check(f"{path}: source", source, _SOURCE_KEYS, required=("title",))
    settings = value.get("settings", {})
    _check_settings(path, settings)
    weight = value.get("similarity_weight")
    return Recipe(
        name=path.stem,
        summary=value["summary"],
        source=Source(**source),
        departures=tuple(value["departures"]),
        model=value["model"],
        dataset=value["dataset"],
        similarity=value.get("similarity"),
        similarity_weight=None if weight is None else plain(weight),
        size=value.get("size"),
        width=value.get("width"),
        images=value.get("images"),
        batch_size=value.get("batch_size"),
        settings=tuple(f"{key}={plain(setting)}" for key, setting in settings.items()),
    )


def applied(recipe: Recipe, asked: "RunRequest") -> tuple["RunRequest", tuple[str, ...]]:
    """Return a run as a recipe has it wherever the user said nothing, and those of its settings that are left out.

    A part that the user replaced takes its settings along: with another data set go `dataset.*`, with another
    similarity `similarity.*` and the weight, with another model those and its own. A preset lowers a recipe's size,
    width and budget as it lowers a data set's.

    Args:
        recipe: what the user named.
        asked: what the user said beside; model and data set are empty where nothing was said.
    """
    other_model = asked.model not in ("", recipe.model)
    other_similarity = other_model or asked.similarity not in (None, recipe.similarity)
    replaced = {
        "model": other_model,
        "similarity": other_similarity,
        "dataset": asked.dataset not in ("", recipe.dataset),
    }
    free = [text for text in recipe.settings if _key(text) not in map(_key, asked.settings)]
    kept = [text for text in free if not replaced.get(_section(text), False)]
    own = {"similarity": recipe.similarity, "similarity_weight": recipe.similarity_weight}
    left = {key: value for key, value in own.items() if other_similarity and value and getattr(asked, key) is None}
    run = replace(
        asked,
        model=asked.model or recipe.model,
        dataset=asked.dataset or recipe.dataset,
        similarity=_first(asked.similarity, None if other_similarity else recipe.similarity),
        similarity_weight=_first(asked.similarity_weight, None if other_similarity else recipe.similarity_weight),
        size=_first(asked.size, _at_most(recipe.size, asked.preset, "size")),
        width=_first(asked.width, _at_most(recipe.width, asked.preset, "width")),
        images=_first(asked.images, _at_most(recipe.images, asked.preset, "images")),
        batch_size=_first(asked.batch_size, recipe.batch_size),
        settings=(*kept, *asked.settings),
    )
    return run, (*(f"{key}={value}" for key, value in left.items()), *(text for text in free if text not in kept))


def _first(said: Any, otherwise: Any) -> Any:
    return otherwise if said is None else said


def _at_most(value: Any, preset: str | None, key: str) -> Any:
    """Return a recipe's size, width or budget, lowered to a preset's; a preset that there is none of is told later."""
    if value is None or preset is None:
        return value
    from genbench.resolution import PRESETS

    return min(value, getattr(PRESETS[preset], key)) if preset in PRESETS else value


def _key(text: str) -> str:
    return text.partition("=")[0].strip()


def _section(text: str) -> str:
    """Return the part of a run that a setting belongs to; one without a dot is the model's."""
    section, dot, _ = _key(text).partition(".")
    return section if dot else "model"


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _is_number(value: Any) -> bool:
    return _is_whole(value) or (isinstance(value, float) and 0 < value < float("inf"))


def _is_weight(value: Any) -> bool:
    return value in ("auto", "calibrated") or _is_number(value)


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(map(_is_text, value))


def _is_table(value: Any) -> bool:
    return isinstance(value, dict)


def _is_setting(value: Any) -> bool:
    return isinstance(value, str | bool | int) or (isinstance(value, float) and abs(value) < float("inf"))


Check = tuple[Callable[[Any], bool], str]
_TEXT: Check = (_is_text, "a text")
_WHOLE: Check = (_is_whole, "a whole number over 0")
_KEYS: dict[str, Check] = {
    "summary": _TEXT,
    "source": (_is_table, 'a table: source = { title = "…", url = "…" }'),
    "departures": (_is_texts, "a list of sentences"),
    "model": _TEXT,
    "dataset": _TEXT,
    "similarity": _TEXT,
    "similarity_weight": (_is_weight, "`auto`, `calibrated` or a number over 0"),
    "size": _WHOLE,
    "width": (_is_number, "a number over 0"),
    "images": _WHOLE,
    "batch_size": _WHOLE,
    "settings": (_is_table, "a table: [settings]"),
}
_SOURCE_KEYS: dict[str, Check] = {"title": _TEXT, "url": _TEXT}


def _check(where: str, table: Mapping[str, Any], known: Mapping[str, Check], required: tuple[str, ...]) -> None:
    for key in table:
        if key not in known:
            raise unknown_key(where, key, known)
    for key in required:
        if key not in table:
            raise GenbenchError(f"{where}: no {key}, expected {known[key][1]}", _EXAMPLE)
    for key, value in table.items():
        is_right, expected = known[key]
        if not is_right(value):
            raise wrong_value(where, key, value, expected, _EXAMPLE)


def _check_settings(path: Path, settings: Mapping[str, Any]) -> None:
    for key, value in settings.items():
        if key in _OWN_KEYS:
            raise GenbenchError(f"{path}: settings.{key} has a key of its own", f"write {_OWN_KEYS[key]} = … instead")
        if not _is_setting(value):
            hint = split_name(key, value) or _EXAMPLE
            raise wrong_value(f"{path}", f"settings.{key}", value, "a text, a number, true or false", hint)
